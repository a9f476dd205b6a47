"""One user's events folded again without one of its behaviours: the state that the user would have had."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from stream.control import pass_gate
from stream.decode import Decoded, decode_event
from stream.errors import RejectionError
from stream.fold import Received, fold_event
from stream.privacy import PrivacyRules
from stream.received import received_from
from stream.record import InputRecord
from stream.state import UserState
from stream.window import Behaviour, WindowPolicy
from trainer.events.reading import StoredRecord, stored_records


class Step(NamedTuple):
    """One event to fold, with the record that it came in."""

    record: InputRecord
    decoded: Decoded
    received: Received


class Refolder:
    """Folds events as a worker does, and remembers every text.

    Args:
        interest_level: Which of an item's categories is the interest.
    """

    def __init__(self, interest_level: int) -> None:
        self._policy = WindowPolicy(interest_level=interest_level)
        self._privacy = PrivacyRules()
        self.texts: dict[int, str] = {}

    def fold(self, steps: Iterable[Step]) -> UserState:
        """The state after these events of one user."""
        state = UserState()
        for _, decoded, received in steps:
            gated = pass_gate(state, decoded, received, self._privacy)
            if gated.state is not None:
                state = gated.state
            if gated.outcome is None:
                try:
                    fold_event(state, gated.decoded, received, self._policy, self.texts)
                except RejectionError:
                    continue  # an id that came before with another body
        return state


def records_of(archive: Path, users: frozenset[str], before_ms: int) -> dict[str, list[StoredRecord]]:
    """The records of some users received before a moment, by user, in the order of arrival."""
    found: dict[str, list[StoredRecord]] = {user: [] for user in users}
    for record in stored_records(archive, before_ms=before_ms):
        user = record.key.decode()
        if user in users and record.timestamp < before_ms:
            found[user].append(record)
    return found


def steps_of(records: Sequence[InputRecord]) -> list[Step]:
    """The records of one user as steps; what can't be decoded and what bots did is left out."""
    steps = []
    for number, record in enumerate(records):
        try:
            decoded = decode_event(record.value, record.timestamp)
        except RejectionError:
            continue
        if not decoded.event.is_bot:
            steps.append(_step(record, decoded, number))
    return steps


def without(steps: Sequence[Step], behaviour: Behaviour) -> list[Step]:
    """The same steps as if a behaviour had not been: its item is taken out of its event, and an empty event goes.

    Args:
        steps: Of one user.
        behaviour: Of the window that they left.
    """
    kept = []
    for step in steps:
        if step.received.event_id != behaviour.event_id:
            kept.append(step)
            continue
        body = orjson.loads(step.record.value or b"")
        items = body.get("items") or []
        if len(items) > 1:
            del items[behaviour.position]
            value = orjson.dumps(body)
            record = StoredRecord("", 0, 0, step.record.timestamp, value, b"")
            kept.append(_step(record, decode_event(value, record.timestamp), step.received.offset))
    return kept


def _step(record: InputRecord, decoded: Decoded, offset: int) -> Step:
    return Step(record, decoded, received_from(0, record, decoded)._replace(offset=offset))
