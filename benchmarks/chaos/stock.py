"""Stock Faust and our worker under the same graceful restarts: which of the events are in the state, and how often.

    python -m benchmarks.chaos.stock [--runs 5] [--restarts 3] [--seed 7] [--json FILE]

Each run feeds the same events at the same pace to a fresh broker and restarts the one worker by SIGTERM. Stock Faust's
state is the list of ids of each user, so that nothing but its own delivery decides what is in it. See docs/reliability.md.
"""

import argparse
import asyncio
import json
import logging
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from benchmarks.chaos.arena import Fleet, Load, NotCaughtUpError, make_topics, settled, under_load
from benchmarks.chaos.feed import shoppers
from benchmarks.machine import machine, versions
from benchmarks.report import keep, table
from stream.events import BEHAVIOUR_TOPICS
from stream.topic_specs import TopicSpec
from stream.topics import create_topics
from tests.behaviour_feed import PARTITIONS
from tests.kafka_node import KafkaNode
from tests.worker_process import REPOSITORY, latest_by_key, read_topic

#: Stock Faust folds about 2,000 a second on a core that it has for itself.
_RATE: Final = 300.0
_BETWEEN_EVENTS: Final = 1_500
#: A commit that stands still for ever is a finding, too.
_STOP_SECONDS: Final = 40.0
_APP_ID: Final = "chaos-stock"
_CHANGELOG: Final = f"{_APP_ID}-ids-changelog"


class Outcome(NamedTuple):
    """Of one run of one contestant."""

    events_in: int
    lost: int
    counted_twice: int
    #: Everything was committed in the end; what was not is not counted as lost if it could still come.
    caught_up: bool
    exit_codes: list[int]


class StockWorker:
    """The contestant's process."""

    def __init__(self, directory: Path, servers: str) -> None:
        self._directory = directory
        self._servers = servers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        told = json.dumps({"app_id": _APP_ID, "bootstrap_servers": self._servers})
        with (self._directory / "stock.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.contestants.stock_restart", told],
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that is not enough; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def _running(worker: StockWorker) -> Iterator[StockWorker]:
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


async def stock(directory: Path, seed: int, restarts: int) -> Outcome:
    """One run of stock Faust."""
    with KafkaNode(directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        await create_topics(servers, [TopicSpec(_CHANGELOG, PARTITIONS, compacted=True)])
        with _running(StockWorker(directory, servers)) as worker:
            async with under_load(servers, seed, _RATE, shoppers(seed, bad_share=0.0), group=_APP_ID) as load:
                codes = await _restarted(load, restarts, worker.stop, worker.start)
                caught_up = await _caught_up(load)
            codes.append(await asyncio.to_thread(worker.stop))
            return await _stock_outcome(servers, codes, caught_up=caught_up)


async def _stock_outcome(servers: str, codes: list[int], *, caught_up: bool) -> Outcome:
    fed: Counter[bytes] = Counter()
    for topic in BEHAVIOUR_TOPICS:
        for record in await read_topic(servers, topic, PARTITIONS):
            fed[orjson.loads(record.value)["event_id"].encode()] += 1
    held: Counter[bytes] = Counter()
    for ids in latest_by_key(await read_topic(servers, _CHANGELOG, PARTITIONS)).values():
        held.update(ids.split(b","))
    return Outcome(fed.total(), len(fed - held), (held - fed).total(), caught_up, codes)


async def ours(directory: Path, seed: int, restarts: int) -> Outcome:
    """One run of our worker."""
    with KafkaNode(directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        with Fleet(directory, servers, 1) as fleet:
            worker = fleet.workers[0]
            async with under_load(servers, seed, _RATE, shoppers(seed, bad_share=0.0)) as load:
                codes = await _restarted(load, restarts, lambda: worker.end(signal.SIGTERM), worker.start)
                caught_up = await _caught_up(load)
            codes.append(await asyncio.to_thread(worker.end, signal.SIGTERM))
        accounts, _ = await settled(load)
    return Outcome(accounts.events_in, accounts.lost, accounts.counted_twice, caught_up, codes)


async def _restarted(
    load: Load, restarts: int, stop: Callable[[], int], start: Callable[[], None]
) -> list[int]:
    codes: list[int] = []
    for _ in range(restarts):
        try:
            await load.committed(_BETWEEN_EVENTS)
        except NotCaughtUpError:
            return codes  # stuck; what follows shows what became of it
        codes.append(await asyncio.to_thread(stop))
        start()
    return codes


async def _caught_up(load: Load) -> bool:
    try:
        await load.caught_up()
    except NotCaughtUpError:
        return False
    return True


CONTESTANTS: Final[dict[str, Callable[[Path, int, int], Awaitable[Outcome]]]] = {
    "stock Faust": stock,
    "interestflow worker": ours,
}


async def _one(name: str, directory: Path, seed: int, restarts: int) -> dict[str, Any]:
    outcome = await CONTESTANTS[name](directory, seed, restarts)
    return {"seed": seed, "stuck": not outcome.caught_up, **outcome._asdict()}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all runs of a contestant."""
    return {
        "runs": len(runs),
        "runs_with_loss": sum(bool(run.get("lost")) for run in runs),
        "runs_stuck": sum(run["stuck"] for run in runs),
        "lost": sum(run.get("lost", 0) for run in runs),
        "counted_twice": sum(run.get("counted_twice", 0) for run in runs),
        "events_in": sum(run.get("events_in", 0) for run in runs),
        "each": runs,
    }


def main() -> None:
    """Run both in turns, print the table, keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.chaos.stock", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for number in range(options.runs):
        for name, done in runs.items():
            with tempfile.TemporaryDirectory(prefix="chaos-stock-") as directory:
                done.append(asyncio.run(_one(name, Path(directory), options.seed + number, options.restarts)))
            print(f"{name}: {done[-1]}", flush=True)
    told = {name: summary(done) for name, done in runs.items()}
    header = ("", "runs", "runs with loss", "runs stuck", "events in", "lost", "counted twice")
    columns = ("runs", "runs_with_loss", "runs_stuck", "events_in", "lost", "counted_twice")
    print(table(header, [(name, *(figures[column] for column in columns)) for name, figures in told.items()]))
    figures = {
        "machine": machine(),
        "versions": versions(["faust-streaming", "aiokafka"]),
        "contestants": told,
    }
    keep(figures, options.json)


if __name__ == "__main__":
    main()
