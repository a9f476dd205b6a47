"""Until when a worker may write: a group gives the partitions of a member that it does not hear of to another one.

A worker that was frozen (stopped, swapped out, starved) for longer than its session wakes in the middle of whatever it did,
and would write states that are older than those the new owner wrote meanwhile. So a produce request leaves only while the group
is known to count on this worker: for less than a session since a heartbeat that the coordinator answered was *sent*. Later it
waits: for a heartbeat that says that nothing was given away, or for the rebalance that gives it up.

This needs a clock that goes on while the process doesn't, as Linux's monotonic one does unless the whole machine is suspended.
"""

from typing import Final

import structlog

from stream.clock import Clock
from stream.metrics import Metrics

log = structlog.get_logger(__name__)

#: Of the session. What leaves at the last moment still has to arrive, and the next owner to read the changelogs.
_SHARE: Final = 0.8
_LOOK_SECONDS: Final = 0.05


class Lease:
    """One worker's; renewed from the consumer's thread, looked at from any.

    Args:
        clock: Goes on while the process is frozen.
        metrics: Counts requests that waited.
        session_seconds: After so long without a heartbeat the group goes on without us.
    """

    def __init__(self, clock: Clock, metrics: Metrics, session_seconds: float) -> None:
        self._clock = clock
        self._metrics = metrics
        self._seconds = session_seconds * _SHARE
        self._ends: float | None = None

    def now(self) -> float:
        """When something is asked of the coordinator, to be given to :meth:`renew`."""
        return self._clock.monotonic_seconds()

    def renew(self, asked_seconds: float) -> None:
        """The coordinator answered, to what was asked then, that we are a member."""
        self._ends = max(self._ends or 0.0, asked_seconds + self._seconds)

    def is_over(self) -> bool:
        """Whether the partitions may be somebody else's; not before the first were given: then there are none."""
        return self._ends is not None and self._clock.monotonic_seconds() >= self._ends

    async def held(self) -> None:
        """Return once the group is known to count on us."""
        if not self.is_over():
            return
        self._metrics.sends_held.inc()
        log.warning("send_held", reason="the group may have given the partitions away")
        while self.is_over():
            await self._clock.sleep(_LOOK_SECONDS)
