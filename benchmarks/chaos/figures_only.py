"""G3, G8 and G9: how fast a worker recovers, what a soak does to its memory, what a hot user does to the others.

G3 is reported and not judged: its seconds are those of the machine.
"""

import asyncio
import random
import shutil
import signal
import statistics
from collections.abc import Iterator
from itertools import islice
from typing import Final

from aiokafka import AIOKafkaConsumer

from benchmarks.chaos.arena import (
    CHANGELOG,
    SCORING,
    Fleet,
    Load,
    Run,
    is_ready,
    make_topics,
    told,
    under_load,
)
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


async def soak(run: Run) -> Verdict:
    """G8: resident memory of a worker under load, from the end of its warm-up on."""
    warm_up, minutes = (20.0, 1.0) if run.short else (90.0, 6.0)
    with KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        with Fleet(run.directory, servers, 1, **SCORING) as fleet:
            (worker,) = fleet.workers
            # Few users, so that their states are full early: what grows then is a leak.
            async with under_load(servers, run.seed, 500.0, shoppers(run.seed, users=300)) as load:
                await fleet.ready(load)
                await asyncio.sleep(warm_up)
                samples = []
                for _ in range(int(minutes * 12)):
                    resident = (await asyncio.to_thread(worker.scrape)).get(
                        "process_resident_memory_bytes", 0.0
                    )
                    samples.append((_clock.monotonic_seconds() / 3_600, resident / 2**20))
                    await asyncio.sleep(5.0)
                await load.caught_up()
            problems = [*fleet.unexpected_ends(), *await fleet.stopped()]
        slope = _slope(samples)
        figures = {
            "resident_mib": round(samples[-1][1]),
            "slope_mib_per_hour": round(slope, 1),
            "measured_minutes": minutes,
        }
        # A minute says nothing about an hour; six say enough to see a leak of a megabyte a minute.
        if not run.short and slope > 60.0:
            problems.append(f"memory grows by {slope:.0f} MiB an hour")
        return await told(
            "G8", "no leak: memory levels off under load", run, load, figures=figures, problems=problems
        )


def _slope(samples: list[tuple[float, float]]) -> float:
    """Of the least-squares line."""
    hours, sizes = zip(*samples, strict=True)
    return statistics.linear_regression(hours, sizes).slope


async def hot_key(run: Run) -> Verdict:
    """G9: time from append to changelog of the other users, without and with a user who makes 30 % of the events."""
    seconds = 15.0 if run.short else 90.0
    with KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        with Fleet(run.directory, servers, 1) as fleet:
            source = _Heated(run.seed)
            async with under_load(servers, run.seed, 500.0, source) as load:
                await fleet.ready(load)
                await load.in_step()
                await asyncio.sleep(5.0)
                even = await _freshness(servers, load, seconds)
                source.share = 0.3
                await asyncio.sleep(2.0)
                hot = await _freshness(servers, load, seconds)
                await load.caught_up()
            problems = [*fleet.unexpected_ends(), *await fleet.stopped()]
        ratio = round(hot / even, 2)
        if ratio > 2.0:
            problems.append(f"the others' p99 is {ratio} times what it is without the hot user")
        figures = {
            "others_p99_ms_even": round(even),
            "others_p99_ms_hot": round(hot),
            "ratio": ratio,
            "path": "fold: append to changelog; without scoring",
        }
        return await told(
            "G9",
            "30 % of events on one user: the others' p99 at most doubles",
            run,
            load,
            figures=figures,
            problems=problems,
        )


class _Heated(Iterator[Fed]):
    """Shoppers, a share of whose events is moved to one user."""

    def __init__(self, seed: int) -> None:
        self.share = 0.0
        self._source = shoppers(seed, bad_share=0.0)
        self._chance = random.Random(seed)
        self._home = partitioner("murmur2", PARTITIONS)(_HOT)

    def __next__(self) -> Fed:
        fed = next(self._source)
        if self._chance.random() >= self.share:
            return fed
        value = (fed.value or b"").replace(fed.key, _HOT)
        return fed._replace(key=_HOT, partition=self._home, value=value)


async def _freshness(servers: str, load: Load, seconds: float) -> float:
    """p99 in ms, over users other than the hot one, from the send of an event to the changelog record that has it."""
    sent = load.feeder.sent_at_ms
    consumer = AIOKafkaConsumer(CHANGELOG, bootstrap_servers=servers, auto_offset_reset="latest")
    await consumer.start()
    waits: list[float] = []
    try:
        until = _clock.monotonic_seconds() + seconds
        while _clock.monotonic_seconds() < until:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                waits += [
                    float(record.timestamp - sent[record.key])
                    for record in records
                    # A user with a newer event under way tells nothing about this one.
                    if record.key != _HOT and sent.get(record.key, record.timestamp) < record.timestamp
                ]
    finally:
        await consumer.stop()
    waits.sort()
    return max(waits[int(len(waits) * 0.99)], 1.0)
