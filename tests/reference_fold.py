"""The pure fold over a whole log, record by record: what workers must leave, whatever happened to them."""

import zlib
from collections import Counter

from stream.decode import decode_event
from stream.errors import RejectionError
from stream.events import OWNED_TOPICS, Outcome, Reason
from stream.fold import Received, event_hash, fold_event, source_key
from stream.state import UserState
from stream.window import WindowPolicy

#: Topic, partition and offset of a record.
Place = tuple[str, int, int]


class ReferenceFold:
    """States, accepted ids and outcomes after the records that it was given.

    Records of one partition come in their order; the order between topics is the caller's, a worker's may differ.
    All are on their right partition and have an event id.
    """

    def __init__(self, policy: WindowPolicy) -> None:
        self._policy = policy
        self.states: dict[bytes, UserState] = {}
        #: The accepted events of each user: hash of the id to where it stood.
        self.accepted: dict[bytes, dict[int, Place]] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        #: Why a record is rejected.
        self.rejected: dict[Place, str] = {}

    def fold(self, place: Place, timestamp_ms: int, key: bytes, value: bytes | None) -> None:
        """Take in one record."""
        try:
            outcome, change = self._fold(place, timestamp_ms, key, value)
        except RejectionError as error:
            self.rejected[place] = str(error.reason)
            self.outcomes[str(Outcome.REJECTED), str(error.reason)] += 1
        else:
            self.outcomes[str(outcome), change] += 1

    def _fold(self, place: Place, timestamp_ms: int, key: bytes, value: bytes | None) -> tuple[Outcome, str]:
        topic, partition, offset = place
        decoded = decode_event(value, timestamp_ms)
        if decoded.event.user_id.encode() != key:
            raise RejectionError(Reason.KEY_MISMATCH, "the record's key is not the payload's user_id")
        event_id = (decoded.event.event_id or "").encode()
        received = Received(
            source_key(OWNED_TOPICS.index(topic), partition, 0),
            offset,
            timestamp_ms,
            event_hash(decoded.event.source, event_id),
            zlib.crc32(value or b""),
            event_id,
        )
        state = self.states.get(key) or UserState()
        outcome = fold_event(state, decoded, received, self._policy, {})
        if outcome is Outcome.ACCEPTED:
            self.states[key] = state
            self.accepted.setdefault(key, {})[received.event_hash] = place
            if decoded.change:
                return Outcome.NORMALISED, str(decoded.change)
        return outcome, ""
