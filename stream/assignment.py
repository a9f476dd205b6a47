"""The partitions that a worker holds: where delivery of them starts, and what a rebalance asks of FOLD and SCORE."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import structlog
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from stream.app import StreamApp
from stream.embedded.one_worker import OneWorker
from stream.errors import FatalError
from stream.events import BEHAVIOUR_TOPICS
from stream.metrics import Metrics
from stream.partitioner import Partitioner
from stream.scoring import Scoring
from stream.sender import SETTLE_SECONDS, BatchSender, SendAbandonedError
from stream.sources import (
    RecoveryIncompleteError,
    check_homes,
    check_loss,
    highest_applied,
    is_cut,
    losses,
    places_of_losses,
    safe_positions,
    unread,
)
from stream.stall import Place, Position
from stream.stores.backend import PartitionStore
from stream.topic_specs import USER_SCORES, changelog_topic

log = structlog.get_logger(__name__)

#: The end of that table's changelog's name, after the app id.
_SCORES_CHANGELOG = changelog_topic("", USER_SCORES)


class AssignmentParts(NamedTuple):
    """What an assignment works with."""

    behaviour: PartitionStore
    scores: PartitionStore
    partition_of: Partitioner
    source_epoch: int
    metrics: Metrics
    failed: Callable[[BaseException], None]
    sender: BatchSender
    group_positions: Callable[[Sequence[Place]], Awaitable[Mapping[Place, Position]]]
    """What the broker says that the group has committed."""
    only: OneWorker | None = None
    """Of a broker that is for one worker."""


class Assignment:
    """Follows the rebalances of one worker; ``app`` and ``scoring`` are set once they are built."""

    def __init__(self, parts: AssignmentParts) -> None:
        self._parts = parts
        self.app: StreamApp | None = None
        self.scoring: Scoring | None = None
        #: Input partitions held, their state complete; None between the start of a rebalance and that.
        self.partitions: frozenset[int] | None = None
        #: Beginning and end of each changelog that recovery of this assignment has to read.
        self._logs: Mapping[TP, tuple[int, int]] = {}
        #: Offsets of the fences of this assignment.
        self._fences: Mapping[TP, int] = {}

    async def check_positions(self, positions: Mapping[TP, int]) -> Mapping[TP, int]:
        """Where delivery may start from; see ``stream.sources.safe_positions``."""
        try:
            return await self._positions(positions)
        except FatalError as error:
            self._parts.failed(error)
            raise

    async def _positions(self, positions: Mapping[TP, int]) -> Mapping[TP, int]:
        assert self.app is not None
        if not positions:
            return {}
        log.info("state_recovered")
        ends = await self.app.consumer.highwaters(*positions)
        partitions = {tp.partition for tp in positions}
        applied = {}
        for partition in partitions:
            check_homes(self._parts.behaviour, partition, self._parts.partition_of)
            applied[partition] = highest_applied(self._parts.behaviour, partition)
            await asyncio.sleep(0)
        ends = {TP(*tp): end for tp, end in ends.items()}
        return safe_positions(positions, ends, applied, self._parts.source_epoch)

    async def take_over(self, changelogs: Collection[TP]) -> Mapping[TP, int]:
        """Shut out whoever wrote these before; see ``stream.fences``.

        Raises:
            RebalanceAgain: If they moved on meanwhile; recovery waits for the next assignment then.
        """
        assert self.app is not None
        app, begun = self.app, self.app.rebalances.begun_so_far
        places = [(tp.topic, tp.partition) for tp in changelogs]
        try:
            ends = await self._parts.sender.take_over(places, lambda: app.rebalances.begun_so_far != begun)
        except SendAbandonedError as error:
            raise RebalanceAgain from error
        except FatalError as error:
            self._parts.failed(error)
            raise
        self._fences = {TP(*place): end for place, end in ends.items()}
        # What came in between is to be recovered as well.
        self._logs = {tp: (begin, self._fences.get(tp, end)) for tp, (begin, end) in self._logs.items()}
        return self._fences

    async def check_changelogs(
        self, beginnings: Mapping[TP, int], ends: Mapping[TP, int]
    ) -> Mapping[TP, int]:
        """Pass if the stores can be brought up to date; see ``stream.sources``.

        Returns:
            Beginnings to be committed: of partitions that lost records of which nothing was ever folded.
        """
        try:
            to_read = sum(unread(self._persisted(TP(*tp)), beginnings[tp], end) for tp, end in ends.items())
            log.info("recovery_began", changelog_offsets=to_read)
            self._logs = {TP(*tp): (beginnings[tp], end) for tp, end in ends.items()}
            cut = [
                TP(*tp)
                for tp, end in ends.items()
                if is_cut(TP(*tp), self._persisted(TP(*tp)), beginnings[tp], end)
            ]
            return await self._without_lost(cut, beginnings, ends) if cut else {}
        except FatalError as error:
            self._parts.failed(error)
            raise

    def check_seeks(self, seeks: Mapping[TP, int]) -> None:
        """Pass if changelogs are read from where their stores stand, before they are.

        Raises:
            RecoveryIncompleteError: If records would be passed over.
        """
        for tp, offset in seeks.items():
            held, (begin, _) = self._persisted(tp), self._logs.get(tp, (0, 0))
            if offset > (begin if held is None else held + 1):
                raise self._incomplete(tp, begin, offset)

    def check_recovered(self) -> None:
        """Pass if the stores hold all that their changelogs had as recovery began, before anything is folded.

        Raises:
            RecoveryIncompleteError: If one does not.
        """
        for tp, (begin, end) in self._logs.items():
            held = self._persisted(tp)
            if begin < end and (held is None or held < end - 1):
                raise self._incomplete(tp, begin, end - 1)

    def _incomplete(self, tp: TP, begin: int, upto: int) -> RecoveryIncompleteError:
        error = RecoveryIncompleteError(tp, self._persisted(tp), begin, upto)
        self._parts.failed(error)
        return error

    async def _without_lost(
        self, cut: Sequence[TP], beginnings: Mapping[TP, int], ends: Mapping[TP, int]
    ) -> Mapping[TP, int]:
        known = losses(cut, await self._parts.group_positions(places_of_losses(cut)))
        for tp in cut:
            check_loss(tp, self._persisted(tp), beginnings[tp], ends[tp], known[tp])
        for tp in cut:
            # Not kept beside what is left: a deletion may have been among what is lost.
            self._store_of(tp).drop(tp.partition)
            log.warning("changelog_begins_late", topic=tp.topic, partition=tp.partition, begin=beginnings[tp])
        return {tp: beginnings[tp] for tp in cut if known[tp].accepted < beginnings[tp]}

    def _store_of(self, tp: TP) -> PartitionStore:
        return self._parts.scores if tp.topic.endswith(_SCORES_CHANGELOG) else self._parts.behaviour

    def _persisted(self, tp: TP) -> int | None:
        return self._store_of(tp).persisted_offset(tp.partition)

    def read_back(self, table: str, records: int) -> None:
        """Recovery read so many records of a table's changelog."""
        self._parts.metrics.read_back.labels(table).inc(records)

    def rebalance_started(self) -> None:
        """From here on nothing is scored; called from the consumer's thread."""
        self.partitions = None
        self._logs = {}
        if self.scoring is not None:
            self.scoring.pause()
        self._parts.metrics.rebalances.inc()

    def rebalance_ended(self, partitions: set[int]) -> None:
        """State is complete for these partitions: their users are scored."""
        if self._parts.only is not None:
            try:
                self._parts.only.given(partitions)
            except FatalError as error:
                self._parts.failed(error)
                return
        self._pass_fences()
        self.partitions = frozenset(partitions)
        for topic in BEHAVIOUR_TOPICS:
            self._parts.metrics.partitions.labels(topic).set(len(partitions))
        if self.scoring is not None:
            self.scoring.resume(partitions)
        log.info("partitions_assigned", partitions=sorted(partitions))

    def _pass_fences(self) -> None:
        """Note in the stores that were read up to a fence that nothing is to be read of it."""
        fences, self._fences = self._fences, {}
        for tp, offset in fences.items():
            if self._persisted(tp) == (offset - 1 if offset else None):
                self._store_of(tp).put_batch(tp.partition, [], offset)

    async def revoked(self) -> None:
        """Partitions are going: send what is in hand, and let nothing be under way when the next owner begins."""
        if self.scoring is not None:
            await self.scoring.drain()
        await self._parts.sender.settle(SETTLE_SECONDS)
