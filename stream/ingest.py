"""FOLD: a bundle of records into the users' states, durable before it is acknowledged.

For each bundle, in this order:

1. each record in its own try: decode, find the user's state, fold; bad ones become dead letters;
2. the touched states are encoded (their caps keep them below what a record may hold);
3. dead letters, records for another partition, new texts and the changelog are sent and acknowledged by the broker;
4. the states go into the store, the users become due, and only then the bundle is acked.

A crash anywhere repeats the bundle; offsets in the state make the repeat change nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from stream.attribution import loose_ends
from stream.clock import Clock, StreamTime
from stream.control import forgotten_texts, pass_gate
from stream.dead_letter import dead_letter
from stream.dead_letter_limit import DeadLetterLimit, LimitRules
from stream.decode import Decoded, decode_event
from stream.draft import Draft
from stream.due import DueUsers
from stream.erasure.burial import Burial
from stream.errors import RejectionError
from stream.events import (
    CONTROL_TOPIC,
    DEAD_LETTER_TOPIC,
    HANDOVER_TOPIC,
    OWNED_TOPICS,
    PURCHASE_TOPIC,
    BehaviourEvent,
    Change,
    Outcome,
    Reason,
)
from stream.eviction import Evictor
from stream.fold import Received, fold_event, source_key
from stream.handing_over import HandingOver
from stream.identities import IdentityRules
from stream.live import LiveStates
from stream.merging import is_moved
from stream.metrics import Metrics
from stream.pacing import ScorePace
from stream.partitioner import Partitioner
from stream.privacy import PrivacyRules
from stream.received import appended_ms, received_from
from stream.record import InputRecord
from stream.reproducing import put_right, reproduced
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.state import UserState, encode_state
from stream.statements import StatementParts, Statements
from stream.stores.backend import PartitionStore
from stream.sweep import EvictionRules
from stream.texts import TextCatalog
from stream.topic_specs import USER_BEHAVIOUR
from stream.user_ids import is_same_id
from stream.window import WindowPolicy

#: Other tasks get their turn after this many records, about 10 ms.
_YIELD_EVERY: Final = 500
#: Looked up for every event, and looking a member up in its enum takes five times as long.
_ACCEPTED: Final = Outcome.ACCEPTED
_AS_IT_CAME: Final = (Outcome.ACCEPTED, "")
_RESERVED_FIELD: Final = Change.RESERVED_FIELD


class FoldParts(NamedTuple):
    """What FOLD works with."""

    store: PartitionStore
    sender: BatchSender
    due: DueUsers
    pace: ScorePace
    texts: TextCatalog
    time: StreamTime
    clock: Clock
    metrics: Metrics
    #: Without SCORE nobody reads the campaigns, and none is called unknown.
    knows_campaign: Callable[[str], bool] = lambda _cid: True


class FoldRules(NamedTuple):
    """What FOLD is told."""

    policy: WindowPolicy
    partition_of: Partitioner
    source_epoch: int
    changelog_topic: str
    live_users: int
    app_version: str
    virtual_time: bool
    limit: LimitRules = LimitRules()
    eviction: EvictionRules = EvictionRules()
    privacy: PrivacyRules = PrivacyRules()


class Folder:
    """Folds bundles, one at a time."""

    def __init__(self, parts: FoldParts, rules: FoldRules) -> None:
        self._parts = parts
        self._rules = rules
        self.live = LiveStates(parts.store, rules.live_users, rules.privacy.marker_secret)
        self._limit = DeadLetterLimit(rules.limit)
        self._evictor = Evictor(parts, self.live, rules.eviction, rules.changelog_topic)
        #: Held while a bundle is folded: nobody is buried in the middle of one.
        self._busy = asyncio.Lock()
        self.burial = Burial(parts.store, parts.sender, self.live, self._busy, rules.changelog_topic)
        ids = IdentityRules(rules.policy, rules.privacy, rules.changelog_topic)
        self._ids = HandingOver(parts.store, parts.sender, rules.partition_of, ids)
        statements = Statements(StatementParts(self._ids, self._state_of, self._replace))
        self._fold_by_topic = {
            CONTROL_TOPIC: statements.fold_control,
            HANDOVER_TOPIC: statements.fold_handover,
        }

    async def fold(
        self, topic: str, partition: int, records: Sequence[InputRecord], abandoned: Callable[[], bool]
    ) -> None:
        """Make a bundle durable.

        Raises:
            SendAbandonedError: If the partitions moved meanwhile; nothing is to be acked.
            FatalError: If the process must stop.
        """
        started = self._parts.clock.monotonic_seconds()
        source = source_key(OWNED_TOPICS.index(topic), partition, self._rules.source_epoch)
        draft = Draft(topic, partition, source)
        durable = False
        try:
            async with self._busy:
                await self._fold_records(draft, records)
                letters = (letter.headers for letter in draft.dead_letters)
                self._limit.note(topic, partition, len(records), letters)
                await self._send(draft, abandoned)
                durable = True
        finally:
            if not durable:
                self.live.discard(partition, draft.touched)
        ended = self._parts.clock.monotonic_seconds()
        self._parts.pace.folded(started, ended)
        self._note(draft, len(records), ended - started)
        async with self._busy:
            await self._evictor.sweep(abandoned)

    # 1. records ----------------------------------------------------------------------------------------------

    async def _fold_records(self, draft: Draft, records: Sequence[InputRecord]) -> None:
        fold_one = self._fold_by_topic.get(draft.topic, self._fold_behaviour)
        # One user's together, in their order: a state comes from memory once, not once for each of its events.
        records = sorted(records, key=lambda record: record.key or b"")
        for start in range(0, len(records), _YIELD_EVERY):
            if start:
                await asyncio.sleep(0)
            outcomes: list[tuple[str, str]] = []
            times: list[int] = []
            for record in records[start : start + _YIELD_EVERY]:
                try:
                    outcomes.append(fold_one(draft, record))
                    times.append(record.timestamp)
                except RejectionError as error:
                    self._reject(draft, record, error)
            draft.outcomes.update(outcomes)
            if times:
                self._parts.time.advance(max(times))

    def _fold_behaviour(self, draft: Draft, record: InputRecord) -> tuple[str, str]:
        value = record.value
        if value is None:
            return Outcome.IGNORED, Change.TOMBSTONE
        decoded = decode_event(value, record.timestamp)
        if decoded.event.is_bot:
            return Outcome.QUARANTINED, Change.BOT
        user = decoded.event.user_id.encode()
        state = self._state_of(draft, record, user, record.key)
        if state is None:
            return reproduced(record)
        received = received_from(draft.source, record, decoded)
        if state.ties.into and is_moved(state, record.timestamp):
            return self._ids.pass_on(draft, record, decoded, received, state)
        return self._fold_own(draft, record, decoded, received, state)

    def _fold_own(
        self, draft: Draft, record: InputRecord, decoded: Decoded, received: Received, state: UserState
    ) -> tuple[str, str]:
        user = decoded.event.user_id.encode()
        if decoded.change is _RESERVED_FIELD:
            draft.reserved_fields += 1
        gated = pass_gate(state, decoded, received, self._rules.privacy)
        if gated.state is not None:
            draft.forgotten_texts.update(forgotten_texts(state, gated.state))
            self._replace(draft, record, user, gated.state)
        decoded = gated.decoded
        outcome = gated.outcome or fold_event(state, decoded, received, self._rules.policy, draft.texts)
        if outcome is not _ACCEPTED:
            return outcome, gated.gap
        if user not in draft.touched:
            draft.touched[user] = state
            draft.appended[user] = appended_ms(record, virtual_time=self._rules.virtual_time)
        loose = self._loose_change(draft, decoded.event, state)
        change = decoded.change or loose
        return (Outcome.NORMALISED, change) if change else _AS_IT_CAME

    def _loose_change(self, draft: Draft, event: BehaviourEvent, state: UserState) -> Change:
        loose = loose_ends(event, state, self._rules.policy.interest_level, self._parts.knows_campaign)
        if loose.step:
            draft.unattributed[loose.step] += 1
        return loose.change

    def _replace(self, draft: Draft, record: InputRecord, user: bytes, state: UserState) -> None:
        self.live.replace(draft.partition, user, state)
        draft.touched[user] = state
        draft.appended.setdefault(user, appended_ms(record, virtual_time=self._rules.virtual_time))

    def _state_of(
        self, draft: Draft, record: InputRecord, user: bytes, key: bytes | None
    ) -> UserState | None:
        """The user's state, or None if the record belongs to another partition and was put there."""
        if key is not None and key != user and not is_same_id(key, user):
            raise RejectionError(Reason.KEY_MISMATCH, "the record's key is not the payload's user_id")
        # Of this bundle first: such a state may have left the live ones since, with all that changed.
        state = draft.touched.get(user)
        if state is None:
            state = self.live.cached(draft.partition, user)
        if state is not None and key is not None:
            return state
        home = self._rules.partition_of(user)
        if home != draft.partition or key is None:
            draft.moved.setdefault(home, []).append(put_right(record, user, home))
            return None
        return self.live.load(draft.partition, user)

    def _reject(self, draft: Draft, record: InputRecord, error: RejectionError) -> None:
        draft.dead_letters.append(OutRecord(*dead_letter(record, error, self._rules.app_version)))
        draft.outcomes[Outcome.REJECTED, error.reason] += 1

    # 2. to 4. durable, visible, due --------------------------------------------------------------------------

    async def _send(self, draft: Draft, abandoned: Callable[[], bool]) -> None:
        if abandoned():  # a write from here would come after those of the new owner
            raise SendAbandonedError("the partitions moved while folding; the new owner repeats it")
        parts = self._parts
        items = [
            (key, encode_state(state)) for key, state in (*draft.touched.items(), *draft.markers.items())
        ]
        await self._ids.send_first(draft, abandoned)
        new_texts = parts.texts.unknown(draft.texts)
        changelog = Outgoing(
            self._rules.changelog_topic, draft.partition, [OutRecord(key, data) for key, data in items]
        )
        outgoing = [
            changelog,
            Outgoing(DEAD_LETTER_TOPIC, draft.partition, draft.dead_letters),
            *(Outgoing(draft.topic, home, moved) for home, moved in draft.moved.items()),
            *parts.texts.outgoing(new_texts),
            *parts.texts.forget(draft.forgotten_texts - draft.texts.keys()),
        ]
        offsets = await parts.sender.send(outgoing, abandoned)
        # A send may outlast a rebalance: a partition that is gone must not come back into the store, holding only these
        # users and claiming to be complete. If it stayed ours, recovery reads them from the changelog.
        if abandoned():
            raise SendAbandonedError(
                "the partitions moved while sending; recovery or the new owner repeats it"
            )
        parts.texts.add(new_texts)
        if items:
            parts.store.put_batch(draft.partition, items, offsets[0])
        await self._ids.finish(draft, abandoned)
        now = parts.clock.monotonic_seconds()
        urgent = draft.topic == PURCHASE_TOPIC
        for key in draft.touched:
            parts.due.mark(draft.partition, key, now, appended_ms=draft.appended[key], urgent=urgent)
        parts.metrics.texts_published.inc(len(new_texts))
        parts.metrics.changelog_bytes.labels(USER_BEHAVIOUR).inc(sum(len(data) for _, data in items))

    def _note(self, draft: Draft, records: int, seconds: float) -> None:
        metrics = self._parts.metrics
        for (outcome, reason), count in draft.outcomes.items():
            metrics.events.labels(draft.topic, outcome, reason).inc(count)
            if outcome == Outcome.REJECTED:
                metrics.dead_letters.labels(draft.topic, reason).inc(count)
        if draft.reserved_fields:
            metrics.reserved_fields.labels(draft.topic).inc(draft.reserved_fields)
        for step, count in draft.unattributed.items():
            metrics.unattributed.labels(draft.topic, step).inc(count)
        metrics.bundle_records.observe(records)
        metrics.fold_seconds.observe(seconds)
