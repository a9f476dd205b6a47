"""The only place that reads a clock or sleeps; everything else is given the time."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the impure parts need of time."""

    def wall_ms(self) -> int:
        """Wall clock, UTC epoch in ms."""
        ...

    def monotonic_seconds(self) -> float:
        """A clock for durations; never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Give way for that long."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Wall clock, UTC epoch in ms."""
        return time.time_ns() // 1_000_000

    def monotonic_seconds(self) -> float:
        """A clock for durations; never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Give way for that long."""
        await asyncio.sleep(seconds)


def pause(seconds: float) -> None:
    """Block the calling thread; only for start-up and shut-down of child processes."""
    time.sleep(seconds)  # noqa: TID251 - this is the one place


class StreamTime:
    """The time that decays and windows use while scoring: wall clock, or the virtual time of a replay.

    In a replay the records' timestamps carry the virtual time; FOLD advances this clock with them.
    """

    def __init__(self, clock: Clock, *, virtual: bool) -> None:
        self._clock = clock
        self._virtual = virtual
        self._latest_ms = 0

    def advance(self, record_timestamp_ms: int) -> None:
        """Take note of a record's timestamp (ms); never goes back."""
        self._latest_ms = max(self._latest_ms, record_timestamp_ms)

    def now_ms(self) -> int:
        """UTC epoch in ms."""
        return self._latest_ms if self._virtual else self._clock.wall_ms()
