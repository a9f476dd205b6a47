"""Champion and challenger on the same users: what was published is scored once more by the other, in the background.

At most one batch at a time; what comes meanwhile is skipped and counted, so that a comparison never holds scoring and
never piles up.
"""

import asyncio

import structlog

from stream.answering import Answered, Answering
from stream.clock import Clock
from stream.lane import Lane
from stream.lanes import Lanes
from stream.metrics import Metrics

log = structlog.get_logger(__name__)


class Comparing:
    """Compares in the background.

    Args:
        answering: Asks the other lane.
        lanes: Says who that is, and keeps the sums.
        clock: For the judgement's window.
        metrics: Counts users compared and skipped.
        top: Interests looked at for the overlap.
    """

    def __init__(
        self, answering: Answering, lanes: Lanes, clock: Clock, metrics: Metrics, *, top: int
    ) -> None:
        self._answering = answering
        self._lanes = lanes
        self._clock = clock
        self._metrics = metrics
        self._top = top
        self._task: asyncio.Task[None] | None = None

    def offer(self, answered: Answered) -> None:
        """Compare these users if there is somebody to compare with, and time."""
        partner = self._lanes.partner(answered.lane)
        if partner is None or answered.scored is None:
            return
        if self._task is not None and not self._task.done():
            self._metrics.comparisons.labels("skipped").inc(len(answered.moments))
            return
        self._task = asyncio.create_task(self._compare(answered, partner), name="compare-models")
        self._task.add_done_callback(_ended)

    async def stop(self) -> None:
        """Give up the comparison under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _compare(self, answered: Answered, partner: Lane) -> None:
        judgement, shared = self._lanes.judgement, self._lanes.shared
        with answered.lane.held(), partner.held():
            other = await self._answering.again(partner, answered.moments)
        if other.scored is None or answered.scored is None or shared is None:
            self._metrics.comparisons.labels("failed").inc(len(answered.moments))
            return
        ours, theirs = answered.scored.scores, other.scored.scores
        if answered.lane.role == "challenger":
            ours, theirs = theirs, ours
        if judgement is not self._lanes.judgement:
            return  # the rollout changed meanwhile: these sums are of another pair
        judgement.compared(shared.compare(ours, theirs, self._top), self._clock.monotonic_seconds())
        self._metrics.comparisons.labels("compared").inc(len(answered.moments))


def _ended(task: "asyncio.Task[None]") -> None:
    # A comparison is a look aside: what goes wrong in it ends neither scoring nor the worker.
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("comparison_failed", error=str(error), exc_info=error)
