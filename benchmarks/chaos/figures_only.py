"""G3: how fast a worker recovers; reported and not judged, its seconds are those of the machine."""

import asyncio
import shutil
import signal
from collections.abc import Iterator
from itertools import islice
from typing import Final

from benchmarks.chaos.arena import Fleet, Load, Run, is_ready, make_topics, told, under_load
from benchmarks.chaos.feed import shoppers
from benchmarks.chaos.phases import phases
from benchmarks.chaos.verdict import Verdict
from stream.clock import SystemClock
from stream.partitioner import partitioner
from tests.behaviour_feed import PARTITIONS, Fed
from tests.kafka_node import KafkaNode
from tests.worker_process import WorkerProcess

_HOT: Final = b"user-00000"
#: Events a second until G3's users are there, and from then on.
_FILLING: Final = 2_000.0
_MODEST: Final = 200.0
#: As docs/scaling.md has it for a StatefulSet: a killed worker that comes again takes its own place at once.
_AS_IN_PRODUCTION: Final = {
    "KAFKA__STATIC_MEMBERSHIP": "true",
    "KAFKA__GROUP_INSTANCE_ID": "worker-0",
    "KAFKA__SESSION_TIMEOUT_SECONDS": "45",
}
_POLL_SECONDS: Final = 0.25
_clock = SystemClock()


async def recovery(run: Run) -> Verdict:
    """G3: a worker killed with many users in its state, its store kept or wiped."""
    users = 10_000 if run.short else 100_000
    with KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        fleet = Fleet(run.directory, servers, 1, STORE__BACKEND="rocksdb", **_AS_IN_PRODUCTION)
        (worker,) = fleet.workers
        # As in the image, whose packages are compiled: a start should not be that of the compiler.
        worker.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        worker.environment["PYTHONPYCACHEPREFIX"] = str(run.directory / "bytecode")
        with fleet:
            async with under_load(servers, run.seed, _FILLING, _each_once(run.seed, users)) as load:
                await fleet.ready(load)
                await _filled(load, users)
                kept = await _killed_and_ready(worker)
                await load.in_step()
                wiped = await _killed_and_ready(worker, wiped=True)
                held = (await asyncio.to_thread(worker.scrape)).get("interestflow_users", 0)
                await load.caught_up()
            problems = await fleet.stopped()
        if held < users:
            problems.append(f"{held:.0f} users were recovered, {users} were there")
        figures = {"users": users, "kept": kept, "wiped": wiped}
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


async def _filled(load: Load, users: int) -> None:
    """Until each user has an event that is folded; what comes then is no flood that recovery would have to share with."""
    while len(load.feeder.acknowledged) < users:  # noqa: ASYNC110 - a set has no event
        await asyncio.sleep(_POLL_SECONDS)
    # Enough to lose one or count it twice.
    load.feeder.events_per_second = _MODEST
    for tenth in range(1, 11):  # a slow machine may take its time, as long as it gets on
        await load.committed(users * tenth // 10 - load.progress.committed)
    await load.in_step()


async def _killed_and_ready(worker: WorkerProcess, *, wiped: bool = False) -> dict[str, float]:
    """Seconds from the start of the process to the end of each phase, and what was read back."""
    await asyncio.to_thread(worker.end, signal.SIGKILL)
    if wiped:
        shutil.rmtree(worker.environment["INTERESTFLOW_STORE__DIRECTORY"])
    began_ms = _clock.wall_ms()
    worker.start()
    samples = await asyncio.to_thread(worker.until, is_ready, polls=3_000)
    ready = round((_clock.wall_ms() - began_ms) / 1000, 1)
    read_back = samples.get("interestflow_changelog_records_read_back_total|user-behaviour", 0.0)
    return {**phases(worker.log, began_ms), "ready": ready, "records_read_back": read_back}
