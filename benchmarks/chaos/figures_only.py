"""G3: how fast a worker recovers; reported and not judged, its seconds are those of the machine."""

import asyncio
import shutil
import signal
from collections.abc import Iterator
from itertools import islice
from typing import Final

from benchmarks.chaos.arena import Fleet, Run, is_ready, make_topics, told, under_load
from benchmarks.chaos.feed import shoppers
from benchmarks.chaos.verdict import Verdict
from stream.clock import SystemClock
from stream.partitioner import partitioner
from tests.behaviour_feed import PARTITIONS, Fed
from tests.kafka_node import KafkaNode
from tests.worker_process import WorkerProcess

_HOT: Final = b"user-00000"
_clock = SystemClock()


async def recovery(run: Run) -> Verdict:
    """G3: a worker killed with many users in its state, its store kept or wiped."""
    users = 10_000 if run.short else 100_000
    with KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        with Fleet(run.directory, servers, 1, STORE__BACKEND="rocksdb") as fleet:
            (worker,) = fleet.workers
            async with under_load(servers, run.seed, 5_000.0, _each_once(run.seed, users)) as load:
                await fleet.ready(load)
                await load.committed(users)
                await load.caught_up()
            kept = await _ready_again(worker)
            await asyncio.to_thread(worker.end, signal.SIGKILL)
            shutil.rmtree(worker.environment["INTERESTFLOW_STORE__DIRECTORY"])
            wiped = await _started(worker)
            held = (await asyncio.to_thread(worker.scrape)).get("interestflow_users", 0)
            problems = await fleet.stopped()
        if held < users:
            problems.append(f"{held:.0f} users were recovered, {users} were there")
        figures = {"users": users, "kept_seconds": kept, "wiped_seconds": wiped}
        promise = "ready again with 100,000 users in 10 s (store kept) and 60 s (wiped); reported"
        return await told("G3", promise, run, load, figures=figures, problems=problems)


def _each_once(seed: int, users: int) -> Iterator[Fed]:
    """An event of each user, then of all by chance."""
    home = partitioner("murmur2", PARTITIONS)
    template = islice(shoppers(seed, users=1, bad_share=0.0), users)
    for number, fed in enumerate(template):
        user = f"user-{number:06d}".encode()
        yield fed._replace(
            key=user,
            partition=home(user),
            value=(fed.value or b"").replace(_HOT, user),
            timestamp_ms=fed.timestamp_ms,
        )
    yield from shoppers(seed + 1, bad_share=0.0)


async def _ready_again(worker: WorkerProcess) -> float:
    await asyncio.to_thread(worker.end, signal.SIGKILL)
    return await _started(worker)


async def _started(worker: WorkerProcess) -> float:
    """Seconds from the start of the process, session of the killed one included."""
    began = _clock.monotonic_seconds()
    worker.start()
    await asyncio.to_thread(worker.until, is_ready, polls=3_000)
    return round(_clock.monotonic_seconds() - began, 1)
