"""SCORE's results to Kafka: updates and decisions first, then the own record that says they were sent."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream.ads.decision import AdDecision
from stream.clock import Clock
from stream.due import DueUser
from stream.erasure.burial import Burial, Grave, purge
from stream.events import DEAD_LETTER_TOPIC, DECISIONS_TOPIC, UPDATES_TOPIC
from stream.interest_update import InterestUpdate, Source
from stream.metrics import Metrics
from stream.refused import about, fitting
from stream.score_record import ScoreRecord, encode_record, forgotten
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.state import peek_erased, peek_moved
from stream.stores.backend import Item, PartitionStore


class Result(NamedTuple):
    """What is to be sent and stored for one user; None where nothing is."""

    due: DueUser
    record: ScoreRecord | None
    update: InterestUpdate | None
    decision: AdDecision | None
    source: Source


class Erased(NamedTuple):
    """A due user of whom nothing may be out any more."""

    due: DueUser
    revision: int | None
    """Of the marker of an erasure, of a redirect, or of a user who may not be profiled; None if it was forgotten."""
    is_known: bool = False
    """The state goes on holding what the user said, or into whom he was merged."""

    def own_record(self) -> bytes | None:
        """What SCORE remembers of it."""
        if self.is_known and self.revision is not None:
            return encode_record(forgotten(self.revision))
        return None


class _Share(NamedTuple):
    """What goes out of one partition."""

    first: list[Outgoing]
    changelog: Outgoing
    letters: list[OutRecord]
    items: list[Item]


class PublishParts(NamedTuple):
    """What publishing works with."""

    behaviour: PartitionStore
    scores: PartitionStore
    sender: BatchSender
    clock: Clock
    metrics: Metrics
    burial: Burial
    is_refused: Callable[[bytes], bool]
    """Whether the user of an encoded state may not be profiled now."""


class Publisher:
    """Makes the results of a scoring batch durable, after one more look at ownership and erasure."""

    def __init__(self, parts: PublishParts, changelog_topic: str) -> None:
        self._parts = parts
        self._changelog_topic = changelog_topic

    async def publish(
        self, results: Sequence[Result], erased: Sequence[Erased], abandoned: Callable[[], bool]
    ) -> None:
        """Send updates, decisions and tombstones, then the own records, then bury who was erased.

        Raises:
            SendAbandonedError: If the partitions moved; the new owner scores these users.
        """
        if abandoned():
            self._parts.metrics.dropped_results.labels("moved").inc(len(results))
            raise SendAbandonedError("the partitions moved while scoring; the new owner scores these users")
        started = self._parts.clock.monotonic_seconds()
        results = [result for result in results if not self._erased_meanwhile(result.due)]
        erased = [user for user in erased if user.revision is not None or self._is_to_withdraw(user.due)]
        by_partition = {
            partition: self._outgoing(
                partition,
                [result for result in results if result.due.partition == partition],
                [user for user in erased if user.due.partition == partition],
            )
            for partition in {result.due.partition for result in results}
            | {user.due.partition for user in erased}
        }
        await self._parts.sender.send(
            [out for share in by_partition.values() for out in share.first], abandoned
        )
        # The own records go last: a crash before them repeats the same updates by the same ids.
        offsets = await self._parts.sender.send(
            [share.changelog for share in by_partition.values()], abandoned
        )
        if abandoned():  # as FOLD: what is gone must not come back into the store
            raise SendAbandonedError(
                "the partitions moved while sending; recovery or the new owner repeats it"
            )
        for (partition, share), offset in zip(by_partition.items(), offsets, strict=True):
            if share.items:
                self._parts.scores.put_batch(partition, share.items, offset)
        await self._bury(erased, abandoned)
        self._note(results)
        for share in by_partition.values():
            for letter in share.letters:
                self._parts.metrics.dead_letters.labels(*about(letter)).inc()
        self._parts.metrics.score_stage.labels("publish").observe(
            self._parts.clock.monotonic_seconds() - started
        )

    async def _bury(self, erased: Sequence[Erased], abandoned: Callable[[], bool]) -> None:
        """Last of all: until then a crash leaves the user due, and all of it is done once more."""
        graves = [
            Grave(user.due.partition, user.due.key, user.revision, user.is_known)
            for user in erased
            if user.revision is not None
        ]
        for partition in {grave.partition for grave in graves}:
            keys = [grave.key for grave in graves if grave.partition == partition]
            await purge(self._parts.scores, partition, keys)
        await self._parts.burial.bury(graves, abandoned)

    def _erased_meanwhile(self, user: DueUser) -> bool:
        data = self._parts.behaviour.get(user.partition, user.key)
        if data is None or peek_erased(data):
            self._parts.metrics.dropped_results.labels("erased").inc()
            return True
        if peek_moved(data):
            self._parts.metrics.dropped_results.labels("merged").inc()
            return True
        if self._parts.is_refused(data):
            self._parts.metrics.dropped_results.labels("no_consent").inc()
            return True
        return False

    def _is_to_withdraw(self, user: DueUser) -> bool:
        """Whether a forgotten user is not back, and something of him is out."""
        parts = self._parts
        return (
            parts.behaviour.get(user.partition, user.key) is None
            and parts.scores.get(user.partition, user.key) is not None
        )

    def _outgoing(self, partition: int, results: Sequence[Result], erased: Sequence[Erased]) -> _Share:
        items: list[Item] = [
            (result.due.key, encode_record(result.record)) for result in results if result.record is not None
        ]
        items.extend((user.due.key, user.own_record()) for user in erased)
        updates = [OutRecord(r.due.key, r.update.to_bytes()) for r in results if r.update is not None]
        decisions = [OutRecord(r.due.key, r.decision.to_bytes()) for r in results if r.decision is not None]
        updates, letters = fitting(UPDATES_TOPIC, partition, updates)
        decisions, others = fitting(DECISIONS_TOPIC, partition, decisions)
        letters += others
        tombstones = [OutRecord(user.due.key, None) for user in erased]
        changelog = Outgoing(self._changelog_topic, partition, [OutRecord(key, data) for key, data in items])
        return _Share(
            [
                Outgoing(UPDATES_TOPIC, partition, [*updates, *tombstones]),
                Outgoing(DECISIONS_TOPIC, partition, decisions),
                Outgoing(DEAD_LETTER_TOPIC, partition, letters),
            ],
            changelog,
            letters,
            items,
        )

    def _note(self, results: Sequence[Result]) -> None:
        metrics, wall_ms = self._parts.metrics, self._parts.clock.wall_ms()
        for result in results:
            metrics.scored.labels(result.source).inc()
            if result.update is None:
                metrics.unchanged.inc()
                continue
            metrics.updates.labels(result.source).inc()
            if result.due.appended_ms:
                metrics.freshness.observe(max(wall_ms - result.due.appended_ms, 0) / 1000)
            if result.decision is not None:
                metrics.decisions.labels("false" if result.decision.bid is None else "true").inc()
                for candidate in result.decision.candidates:
                    if candidate.outcome == "lost":
                        metrics.losses.labels(candidate.reason).inc()
