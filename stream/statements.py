"""FOLD, the records that are no behaviour: statements of ``users.control``, and what other ids of a person hand over."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from stream.control import read_statement
from stream.decode import check_record_time
from stream.draft import Draft
from stream.events import Outcome
from stream.fold import Received
from stream.handing_over import HandingOver
from stream.handover import decode_handover
from stream.identities import Told, receive, subject, tell
from stream.record import InputRecord
from stream.reproducing import reproduced
from stream.state import UserState
from stream.user_ids import is_same_id


class StateOf(Protocol):
    """Gives a user's state, or None if the record belongs to another partition and was put there."""

    def __call__(self, draft: Draft, record: InputRecord, user: bytes, key: bytes | None) -> UserState | None:
        """See the class."""
        ...


class StatementParts(NamedTuple):
    """What FOLD lends for it."""

    ids: HandingOver
    state_of: StateOf
    replace: Callable[[Draft, InputRecord, bytes, UserState], None]


class Statements:
    """Folds them, one record at a time."""

    def __init__(self, parts: StatementParts) -> None:
        self._parts = parts

    def fold_control(self, draft: Draft, record: InputRecord) -> tuple[str, str]:
        """What somebody says about a user."""
        check_record_time(record.timestamp)
        statement = read_statement(record.key, record.value)
        user, known = subject(statement.event), statement.event.user_id.encode()
        # A merge keyed by the known user begins at the other one, as if it had no key.
        is_known = record.key is not None and user != known and is_same_id(record.key, known)
        state = self._parts.state_of(draft, record, user, None if is_known else record.key)
        if state is None:
            return reproduced(record)
        rules = self._parts.ids.rules
        return self._tell(
            draft, record, user, state, lambda received: tell(state, user, statement, received, rules)
        )

    def fold_handover(self, draft: Draft, record: InputRecord) -> tuple[str, str]:
        """What a worker says of another id of a user."""
        check_record_time(record.timestamp)
        handed = decode_handover(record.value)
        message, rules = handed.message, self._parts.ids.rules
        if message.changelog != rules.changelog:
            return Outcome.IGNORED, ""  # of another deployment
        user = message.user_id.encode()
        state = self._parts.state_of(draft, record, user, record.key)
        if state is None:
            return reproduced(record)
        return self._tell(
            draft, record, user, state, lambda received: receive(state, user, handed, received, rules)
        )

    def _tell(
        self,
        draft: Draft,
        record: InputRecord,
        user: bytes,
        state: UserState,
        told_by: Callable[[Received], Told],
    ) -> tuple[str, str]:
        if record.offset <= state.applied.get(draft.source, -1):
            if state.ties.pending:  # what it asked for may not be out
                self._parts.replace(draft, record, user, state)
            return Outcome.REPLAYED, ""
        told = told_by(Received(draft.source, record.offset, record.timestamp, 0, 0, b""))
        self._parts.ids.note(draft, record, user, state, told)
        if told.state is not None:
            self._parts.replace(draft, record, user, told.state)
        return told.outcome, told.reason
