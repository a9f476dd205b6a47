"""A worker follows ``models.rollout``: it loads the versions named there, swaps lanes, and takes back what does harm."""

import asyncio
from uuid import uuid4

import structlog

from stream.compacted import CompactedTopicReader, EndOffsets
from stream.errors import FatalError, ModelUnavailableError, RejectionError
from stream.events import ROLLOUT_TOPIC
from stream.kafka_client import client_kwargs
from stream.lane import Lane, LaneParts, repository_control
from stream.lanes import Lanes
from stream.model.control import require_served
from stream.model.judgement import OutOfBounds, Verdict
from stream.model.repository import load_bundle
from stream.rollout import Role, RolloutRecords, Stamp, rolled_back_key, taken_back, taken_in
from stream.sender import BatchSender, Outgoing, OutRecord

log = structlog.get_logger(__name__)


class RolloutFollower:
    """Keeps the lanes as the topic says.

    Args:
        parts: Of the lanes that it makes.
        lanes: Where it puts them.
        sender: Of the records of automatic rollbacks.
        end_offsets: See ``CompactedTopicReader``.
    """

    def __init__(self, parts: LaneParts, lanes: Lanes, sender: BatchSender, end_offsets: EndOffsets) -> None:
        self._parts = parts
        self._lanes = lanes
        self._sender = sender
        self._app_id = parts.settings.app_id
        self._records = RolloutRecords()
        self._applied_id: str | None = None
        self._told_of: str | None = None
        for bound in OutOfBounds:
            parts.metrics.rollbacks.labels(bound)  # a counter that is born at 1 has not grown, to an alert
        #: Why the champion that is ordered does not score yet; None if it does.
        self.problem: str | None = None
        self._reader = CompactedTopicReader(
            ROLLOUT_TOPIC, client_kwargs(parts.settings.kafka), self._on_record, end_offsets=end_offsets
        )

    async def start(self) -> None:
        """Read the topic and make the lanes that it names; Triton need not answer yet.

        Raises:
            FatalError: The repository has no such champion, or it does not fit.
        """
        await self._reader.start()
        await self._reader.ready.wait()
        wanted = self._records.in_force
        champion = await self._lane(None if wanted is None else wanted.champion, "champion")
        self._lanes.put(wanted, champion, None)
        if wanted is not None and wanted.challenger is None:
            self._applied_id = wanted.rollout_id

    async def stop(self) -> None:
        """Read no more."""
        await self._reader.stop()

    async def follow(self) -> None:
        """Do what the topic says if that has not been done; tried again at the next call."""
        wanted = self._records.in_force
        if wanted is None or wanted.rollout_id == self._applied_id:
            self._note(None)
            return
        try:
            champion = await self._ready_lane(wanted.champion, "champion")
        except (FatalError, ModelUnavailableError) as error:
            self._note(f"version {wanted.champion} is to be the champion and is not: {error}")
            return
        challenger = None
        try:
            if wanted.challenger is not None:
                challenger = await self._ready_lane(wanted.challenger, "challenger")
        except (FatalError, ModelUnavailableError) as error:
            self._parts.metrics.rollout_pending.set(1)
            log.warning("challenger_not_usable", version=wanted.challenger, error=str(error))
            if champion is self._lanes.champion and self._lanes.challenger is None:
                return
        else:
            self._applied_id = wanted.rollout_id
            self._note(None)
        self._lanes.put(wanted, champion, challenger)
        log.info(
            "rollout_applied", champion=wanted.champion, challenger=wanted.challenger, mode=wanted.mode, share=wanted.share
        )  # fmt: skip

    async def judge(self) -> None:
        """Show how the challenger does, and take it back if it is a canary out of bounds."""
        if self._lanes.challenger is None:
            self._show(None)
            return
        verdict = self._lanes.judgement.verdict(self._parts.clock.monotonic_seconds())
        self._show(verdict)
        rollout, order = self._lanes.rollout, self._records.order
        if verdict is None or rollout is None or order is None or rollout.mode != "canary":
            return
        if not self._parts.settings.rollout.auto_rollback or rollout.rollout_id != order.rollout_id:
            return
        reason = f"{verdict.bound}: {verdict.detail}"
        back = taken_back(order, reason, Stamp(uuid4().hex, self._parts.clock.wall_ms()))
        log.warning("challenger_taken_back", version=rollout.challenger, reason=reason)
        record = OutRecord(rolled_back_key(self._app_id), back.to_bytes())
        await self._sender.send([Outgoing(ROLLOUT_TOPIC, 0, [record])], lambda: False)
        self._parts.metrics.rollbacks.labels(verdict.bound).inc()
        # Not only once the record comes back: the next batch is the champion's.
        self._records = self._records._replace(rolled_back=back)
        await self.follow()

    def _on_record(self, key: bytes | None, value: bytes | None, _partition: int, offset: int) -> None:
        try:
            self._records = taken_in(self._records, self._app_id, key, value)
        except RejectionError as error:
            log.warning("rollout_rejected", offset=offset, detail=error.detail)

    async def _lane(self, version: str | None, role: Role) -> Lane:
        """The lane of a version: the one at work, or a new one."""
        for lane in self._lanes.all():
            if lane.version == version:
                return lane
        bundle = await asyncio.to_thread(load_bundle, self._parts.settings.model.repository, version)
        return Lane(bundle, self._parts, role)

    async def _ready_lane(self, version: str, role: Role) -> Lane:
        """As ``_lane``, and Triton answers with it; it is told to load the version if it may be.

        Raises:
            FatalError: The repository has no such version, or it does not fit.
            ModelUnavailableError: Triton does not answer with it.
        """
        lane = await self._lane(version, role)
        if lane in self._lanes.all():
            return lane
        try:
            await require_served(lane.model, lane.bundle, repository_control(self._parts.settings.model))
        except ModelUnavailableError:
            await lane.close()
            raise
        return lane

    def _note(self, problem: str | None) -> None:
        self.problem = problem
        self._parts.metrics.rollout_pending.set(problem is not None)
        if problem is not None and problem != self._told_of:
            log.warning("rollout_not_applied", problem=problem)
        self._told_of = problem

    def _show(self, verdict: Verdict | None) -> None:
        metrics = self._parts.metrics
        seen = self._lanes.judgement.seen(self._parts.clock.monotonic_seconds())
        metrics.challenger_difference.set(_shown(seen.score_difference))
        metrics.challenger_overlap.set(_shown(seen.overlap_ratio))
        metrics.challenger_score_ratio.set(_shown(seen.score_ratio))
        for bound in OutOfBounds:
            metrics.challenger_out.labels(bound).set(verdict is not None and verdict.bound is bound)


def _shown(figure: float | None) -> float:
    """Nothing seen is no number."""
    return float("nan") if figure is None else figure
