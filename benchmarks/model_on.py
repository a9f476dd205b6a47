"""Whether the model holds the stream: events folded with it saturated against without, and while Triton is halted."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.contest import Contestant, ContestantFailedError, Run, run_contestant
from benchmarks.contestants.job import Job
from benchmarks.outage import measure_outage
from benchmarks.report import median, ratio
from benchmarks.servers import MODELS, REPOSITORY, bundled_triton, empty_broker
from benchmarks.shop import ShopRecord, shop_records
from benchmarks.topics import fill, put
from stream.errors import FatalError
from stream.model.repository import newest_version

#: Enough that every user is known and nearly every text is encoded before anything is timed.
_WARM_UP_EVENTS: Final = 20_000
_TIMED_EVENTS: Final = 100_000


def model_figures(broker: str, repeats: int, *, enabled: bool) -> dict[str, Any]:
    """The keys fold_ratio_model_on and triton_outage, null where the model can't be run here."""
    told: dict[str, Any] = {"fold_ratio_model_on": None, "model_on": None, "triton_outage": None}
    if not enabled:
        return told
    try:
        told |= _fold_ratio(broker, repeats)
        told["triton_outage"] = _outage(broker)
    except (FatalError, ContestantFailedError, TimeoutError) as error:
        print(f"the model's part of the benchmark ended: {error}", flush=True)
    return told


def labelled_records(count: int) -> list[ShopRecord]:
    """The shop's events in the categories of the shipped model.

    Raises:
        ModelRepositoryError: The repository has no model.
    """
    path = newest_version(REPOSITORY / MODELS[1]) / "labels.json"
    labels = json.loads(path.read_text(encoding="utf-8"))
    return list(shop_records(count, [interest["category"] for interest in labels["interests"]]))


def _fold_ratio(broker: str, repeats: int) -> dict[str, Any]:
    records = labelled_records(_WARM_UP_EVENTS + _TIMED_EVENTS)
    off: list[Run] = []
    on: list[Run] = []
    with bundled_triton(REPOSITORY, MODELS) as triton:
        for repeat in range(repeats):
            off.append(_timed_run(broker, records, ""))
            on.append(_timed_run(broker, records, triton.grpc_url))
            print(
                f"repeat {repeat + 1}: model off {off[-1].events_per_second:,.0f} events/s, on "
                f"{on[-1].events_per_second:,.0f} events/s and {_scored_per_second(on[-1]):,.0f} users/s scored, "
                f"{on[-1].result['due']:,.0f} due at the end (others used {off[-1].others_cores:.2f}, "
                f"{on[-1].others_cores:.2f} cores)",
                flush=True,
            )
    told = ratio(_rate(on), _rate(off))
    print(f"fold_ratio_model_on: {told}\n", flush=True)
    return {
        "fold_ratio_model_on": told,
        "model_on": {
            "events_per_second_off": [round(run.events_per_second) for run in off],
            "events_per_second_on": [round(run.events_per_second) for run in on],
            "users_scored_per_second": [round(_scored_per_second(run)) for run in on],
            "due_at_end": [round(run.result["due"]) for run in on],
            "others_cores": [round(run.others_cores, 2) for run in (*off, *on)],
        },
    }


def _timed_run(broker: str, records: Sequence[ShopRecord], model_url: str) -> Run:
    warm_up, timed = records[:_WARM_UP_EVENTS], records[_WARM_UP_EVENTS:]
    with empty_broker(broker) as bootstrap_servers, tempfile.TemporaryDirectory() as directory:
        asyncio.run(fill(bootstrap_servers, warm_up))
        job = Job(bootstrap_servers, broker, len(timed), directory, len(warm_up), model_url, str(REPOSITORY))
        ours = Contestant("interestflow worker", "ours", Path(sys.executable), len(timed))
        return run_contestant(ours, job, lambda: asyncio.run(put(bootstrap_servers, timed)))


def _rate(runs: Sequence[Run]) -> float | None:
    return median([run.events_per_second for run in runs])


def _scored_per_second(run: Run) -> float:
    return run.result["scored"] / run.result["seconds"]


def _outage(broker: str) -> dict[str, Any]:
    outage = measure_outage(broker, labelled_records(_WARM_UP_EVENTS * 2), _WARM_UP_EVENTS)
    print(f"triton_outage: {json.dumps(outage)}\n", flush=True)
    return outage
