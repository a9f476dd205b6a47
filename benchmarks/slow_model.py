"""Whether a slow model server is held back, or fills the worker: memory and due users while the stream goes on at its pace.

One worker, every user due again and again, and a scripted server with Triton's protocol that answers at once, then so late
that only a tenth of the users can be scored, then not at all until the deadline of each call, then at once again. FOLD must
go on, the due users be bounded by the users, memory level off, and in the end everybody be scored by the model.

    python -m benchmarks.slow_model [--short] [--json FILE]
"""

import argparse
import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.chaos.arena import Fleet, Load, Run, make_topics, settled, under_load
from benchmarks.chaos.feed import shoppers
from benchmarks.chaos.soak import own_mib
from benchmarks.machine import machine
from benchmarks.model_fault_kinds import FaultyTriton, scripted
from benchmarks.report import keep, table
from stream.clock import SystemClock
from stream.window import WindowPolicy
from tests.kafka_node import KafkaNode
from tests.worker_process import REPOSITORY, WorkerProcess, total

_USERS: Final = 5_000
_EVENTS_PER_SECOND: Final = 2_000.0
#: Windows are full after so many events of a user, and then the states are as large as they get.
_WINDOW: Final = 8
_POLICY: Final = WindowPolicy(size=_WINDOW, lateness_grace_ms=3_600_000)
#: Below the worker's deadline of a call: nothing fails, all is late.
_LATE_SECONDS: Final = 1.5
#: Beyond it: each call is given up.
_NEVER_SECONDS: Final = 60.0
#: What the last half of a slow time may add to memory, beside what comes and goes: far below what a queue of the
#: events that come meanwhile would take.
_MOST_GROWTH_MIB: Final = 16.0
_SAMPLE_SECONDS: Final = 1.0
_clock = SystemClock()


class Look(NamedTuple):
    """One look at the worker."""

    own_mib: float
    due_users: float
    oldest_due_seconds: float
    folded: float
    scored_by_model: float
    scored_otherwise: float


class Phase(NamedTuple):
    """What the worker was like while the server answered at one pace."""

    name: str
    seconds: float
    looks: Sequence[Look]

    def figures(self) -> dict[str, float]:
        """For the table and the JSON file."""
        first, last = self.looks[0], self.looks[-1]
        half = self.looks[len(self.looks) // 2 :]
        return {
            "events_per_second": round((last.folded - first.folded) / self.seconds),
            "scored_by_model_per_second": round(
                (last.scored_by_model - first.scored_by_model) / self.seconds
            ),
            "scored_otherwise_per_second": round(
                (last.scored_otherwise - first.scored_otherwise) / self.seconds
            ),
            "due_users_halfway": half[0].due_users,
            "due_users_at_end": last.due_users,
            "most_due_users": max(look.due_users for look in self.looks),
            "oldest_due_seconds": round(last.oldest_due_seconds, 1),
            "own_mib_at_start": round(first.own_mib, 1),
            "own_mib_halfway": round(half[0].own_mib, 1),
            "own_mib_at_end": round(last.own_mib, 1),
        }


async def slow_model(run: Run) -> dict[str, Any]:
    """The figures by phase; ``problems`` says what does not level off."""
    seconds = 10.0 if run.short else 60.0
    with scripted() as (url, server), KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        with Fleet(run.directory, servers, 1, **_settings(url)) as fleet:
            (worker,) = fleet.workers
            source = shoppers(run.seed, users=_USERS, bad_share=0.0)
            async with under_load(servers, run.seed, _EVENTS_PER_SECOND, source) as load:
                await fleet.ready(load)
                await load.committed(_USERS * _WINDOW * (1 if run.short else 3))
                phases = await _phases(worker, server, seconds)
                problems = await _in_the_end(worker, load)
            problems += [*fleet.unexpected_ends(), *await fleet.stopped()]
        accounts, wrong = await settled(load, _POLICY)
    figures = {phase.name: phase.figures() for phase in phases}
    return {
        **accounts.figures(),
        **load.figures(),
        "seed": run.seed,
        "users": _USERS,
        "phases": figures,
        "problems": [*problems, *wrong, *judged(figures)],
    }


def _settings(url: str) -> dict[str, str]:
    return {
        "WINDOW__SIZE": str(_WINDOW),
        "WINDOW__LATENESS_GRACE_HOURS": "1",
        "MODEL__ENABLED": "true",
        "MODEL__REPOSITORY": str(REPOSITORY / "triton_models"),
        "MODEL__GRPC_URL": url,
    }


async def _phases(worker: WorkerProcess, server: FaultyTriton, seconds: float) -> list[Phase]:
    phases = []
    for name, late in (("at once", 0.0), ("late", _LATE_SECONDS), ("never", _NEVER_SECONDS)):
        server.delay_seconds = late
        phases.append(await _phase(worker, name, seconds))
    server.delay_seconds = 0.0
    return phases


async def _phase(worker: WorkerProcess, name: str, seconds: float) -> Phase:
    looks, began = [await _look(worker)], _clock.monotonic_seconds()
    while (took := _clock.monotonic_seconds() - began) < seconds:
        await asyncio.sleep(_SAMPLE_SECONDS)
        looks.append(await _look(worker))
    return Phase(name, took, looks)


async def _look(worker: WorkerProcess) -> Look:
    samples = await asyncio.to_thread(worker.until, bool)
    by_source = {
        source: samples.get(f"interestflow_users_scored_total|{source}", 0.0)
        for source in ("model", "cached", "profile", "none")
    }
    return Look(
        own_mib(worker.pid),
        samples["interestflow_due_users"],
        samples["interestflow_oldest_due_age_seconds"],
        total(samples, "events"),
        by_source.pop("model"),
        sum(by_source.values()),
    )


async def _in_the_end(worker: WorkerProcess, load: Load) -> list[str]:
    """With nothing new and a model that answers, nobody stays due."""
    await load.caught_up()
    try:
        await asyncio.to_thread(worker.until, lambda now: now["interestflow_due_users"] == 0, polls=1_200)
    except AssertionError as error:
        return [f"users stayed due: {str(error)[:300]}"]
    return []


def judged(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What does not level off."""
    problems = []
    for name, phase in figures.items():
        if phase["most_due_users"] > _USERS:
            problems.append(f"{name}: {phase['most_due_users']:.0f} due users, there are {_USERS}")
        growth = phase["own_mib_at_end"] - phase["own_mib_halfway"]
        if growth > _MOST_GROWTH_MIB:
            problems.append(f"{name}: memory grew by {growth:.0f} MiB in the last half")
    return problems


def main() -> None:
    """Run it from the command line; exit code 1 if something does not level off."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="ten seconds of each pace")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        told = asyncio.run(slow_model(Run(Path(directory), asked.seed, asked.short)))
    names = list(told["phases"]["late"])
    print(table(["answers", *names], [[phase, *told["phases"][phase].values()] for phase in told["phases"]]))
    for problem in told["problems"]:
        print(f"  {problem}")
    keep({"machine": machine(), "slow_model": told}, asked.json)
    raise SystemExit(1 if told["problems"] else 0)


if __name__ == "__main__":
    main()
