"""Load on a path: all it can take, or arrivals at a rate."""

import asyncio
import random
from collections import deque
from typing import Final, NamedTuple

import numpy as np

from benchmarks.machine import others_cores, read_cpu
from benchmarks.model_paths import UpdatePath
from stream.clock import SystemClock

#: Calls in flight, as the worker keeps them (INTERESTFLOW_MODEL__CONCURRENCY).
CONCURRENCY: Final = 2
_SETTLE_SECONDS: Final = 0.5
_clock = SystemClock()


class Throughput(NamedTuple):
    """What a path takes at most."""

    updates_per_second: float
    #: Of Triton, its models and the client together.
    cpu_ms_per_update: float
    #: Cores that others kept busy meanwhile.
    others_cores: float


class Latency(NamedTuple):
    """From a user's arrival to the new scores."""

    offered_per_second: float
    done_per_second: float
    p50_ms: float
    p99_ms: float
    rows_per_call: float


async def closed_loop(path: UpdatePath, seconds: float) -> Throughput:
    """All it can take: full calls and no pause."""
    await path.warm_up()
    await _run_until(path, _clock.monotonic_seconds() + _SETTLE_SECONDS)
    before = read_cpu()
    updates = await _run_until(path, before.at_seconds + seconds)
    after = read_cpu()
    return Throughput(
        updates_per_second=updates / (after.at_seconds - before.at_seconds),
        cpu_ms_per_update=(after.own_seconds - before.own_seconds) / updates * 1000,
        others_cores=others_cores(before, after),
    )


async def _run_until(path: UpdatePath, end: float) -> int:
    async def caller() -> int:
        updates = 0
        while _clock.monotonic_seconds() < end:
            await path.update(path.most_rows)
            updates += path.most_rows
        return updates

    return sum(await asyncio.gather(*(caller() for _ in range(CONCURRENCY))))


async def open_loop(path: UpdatePath, rate: float, seconds: float) -> Latency:
    """Latency with users arriving by chance at ``rate`` per second; who waits when a call is free goes together.

    Arrivals don't wait for answers, so a path that can't keep up shows it.
    """
    await path.warm_up()
    queue = _Queue(path)
    drawn = random.Random(17)
    began = at = _clock.monotonic_seconds()
    while (at := at + drawn.expovariate(rate)) < began + seconds:
        if (wait := at - _clock.monotonic_seconds()) > 0:
            await asyncio.sleep(wait)
        queue.arrive(at)
    await queue.drain()
    took = _clock.monotonic_seconds() - began
    p50, p99 = np.percentile(queue.latencies, (50, 99)) * 1000
    return Latency(
        offered_per_second=round(rate),
        done_per_second=round(len(queue.latencies) / took),
        p50_ms=round(float(p50), 1),
        p99_ms=round(float(p99), 1),
        rows_per_call=round(len(queue.latencies) / queue.calls, 1),
    )


class _Queue:
    """Users waiting for one of the calls."""

    def __init__(self, path: UpdatePath) -> None:
        self.latencies: list[float] = []
        self.calls = 0
        self._path = path
        self._waiting: deque[float] = deque()
        self._flying: set[asyncio.Task[None]] = set()

    def arrive(self, at: float) -> None:
        """A user came at that moment."""
        self._waiting.append(at)
        self._take_off()

    async def drain(self) -> None:
        """Until nobody waits."""
        while self._flying:
            await asyncio.wait(self._flying)

    def _take_off(self) -> None:
        while self._waiting and len(self._flying) < CONCURRENCY:
            count = min(len(self._waiting), self._path.most_rows)
            self._start([self._waiting.popleft() for _ in range(count)])

    def _start(self, arrivals: list[float]) -> None:
        flight = asyncio.create_task(self._fly(arrivals))
        self._flying.add(flight)
        flight.add_done_callback(self._landed)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flying.discard(flight)
        flight.result()
        self._take_off()

    async def _fly(self, arrivals: list[float]) -> None:
        await self._path.update(len(arrivals))
        self.calls += 1
        now = _clock.monotonic_seconds()
        self.latencies.extend(now - at for at in arrivals)
