"""FOLD, what leaves one id of a person for another: durable there before it is let go here.

For a merge, in this order, while the bundle is in hand:

1. the redirect that still holds everything is in the changelog: from here on what is handed over never changes;
2. the hand-over is sent and acknowledged by the broker;
3. the redirect without it is in the changelog and in the store, and only then the request's bundle is acked.

A crash before 1 finds the user as before. After 1 the request comes again and finds what is to be sent; a hand-over that
was sent twice is the same twice, and known at the other end by its id.
"""

from collections.abc import Callable

from stream.control import forgotten_texts
from stream.decode import Decoded
from stream.draft import Draft
from stream.erasure.marker import marker_key
from stream.events import HANDOVER_TOPIC, Change, Outcome
from stream.fold import Received, admit
from stream.handover import encode_handover, event_of
from stream.identities import IdentityRules, Told, handover_of
from stream.merging import drain
from stream.partitioner import Partitioner
from stream.record import InputRecord
from stream.reproducing import passed_on
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.state import UserState, encode_state
from stream.stores.backend import PartitionStore

_MOVED = "the partitions moved while handing over; the request comes again to their owner"


class HandingOver:
    """A part of FOLD, the only writer of that table."""

    def __init__(
        self, store: PartitionStore, sender: BatchSender, partition_of: Partitioner, rules: IdentityRules
    ) -> None:
        self._store = store
        self._sender = sender
        self._partition_of = partition_of
        self.rules = rules

    def pass_on(
        self, draft: Draft, record: InputRecord, decoded: Decoded, received: Received, state: UserState
    ) -> tuple[str, str]:
        """An event of a merged id, as one of the id that it was merged into.

        Raises:
            RejectionError: ``id_conflict``, ``merge_loop`` or ``too_large``.
        """
        outcome = admit(state, decoded.occurred_at_ms, received, self.rules.policy)
        if outcome is not Outcome.ACCEPTED:
            return outcome, ""
        assert record.value is not None  # it was decoded
        into = state.ties.into
        self._move(draft, into, passed_on(record, into, event_of(record.value, into)))
        return Outcome.REPRODUCED, Change.MERGED

    def note(self, draft: Draft, record: InputRecord, user: bytes, before: UserState, told: Told) -> None:
        """Collect what a statement or a hand-over leads to, beside the state itself.

        Raises:
            RejectionError: ``merge_loop`` or ``too_large``, of a hand-over that is to go on.
        """
        if told.onward is not None:
            to = told.onward.user_id.encode()
            self._move(draft, to, passed_on(record, to, encode_handover(told.onward)))
        draft.forgotten_texts.update(told.forgotten_texts)
        if told.state is not None:
            draft.forgotten_texts.update(forgotten_texts(before, told.state))
            if told.state.erased_at_ms:
                draft.markers[marker_key(user, self.rules.privacy.marker_secret)] = told.state
        for message in told.messages:
            to = message.user_id.encode()
            out = OutRecord(to, encode_handover(message), (), record.timestamp)
            draft.handed.setdefault(self._partition_of(to), []).append(out)

    def _move(self, draft: Draft, user: bytes, record: OutRecord) -> None:
        draft.moved.setdefault(self._partition_of(user), []).append(record)

    async def send_first(self, draft: Draft, abandoned: Callable[[], bool]) -> None:
        """Send what other ids must be told, before the state forgets to whom.

        Raises:
            SendAbandonedError: If the partitions moved.
        """
        if draft.handed:
            await self._sender.send(
                [Outgoing(HANDOVER_TOPIC, home, records) for home, records in draft.handed.items()], abandoned
            )

    async def finish(self, draft: Draft, abandoned: Callable[[], bool]) -> None:
        """Hand over those who leave, once their redirects are in the changelog; see the module.

        Raises:
            SendAbandonedError: If the partitions moved.
        """
        leaving = {user: state for user, state in draft.touched.items() if state.ties.pending}
        if not leaving:
            return
        by_home: dict[int, list[OutRecord]] = {}
        for user, state in leaving.items():
            value = encode_handover(handover_of(state, user, self.rules))
            out = OutRecord(state.ties.into, value, (), state.folded_at_ms)
            by_home.setdefault(self._partition_of(state.ties.into), []).append(out)
        await self._sender.send(
            [Outgoing(HANDOVER_TOPIC, home, outs) for home, outs in by_home.items()], abandoned
        )
        for state in leaving.values():
            drain(state)
        if abandoned():  # a write from here would come after those of the new owner
            raise SendAbandonedError(_MOVED)
        items = [(user, encode_state(state)) for user, state in leaving.items()]
        redirects = Outgoing(self.rules.changelog, draft.partition, [OutRecord(*item) for item in items])
        (offset,) = await self._sender.send([redirects], abandoned)
        if abandoned():  # as FOLD: what is gone must not come back into the store
            raise SendAbandonedError(_MOVED)
        self._store.put_batch(draft.partition, items, offset)
