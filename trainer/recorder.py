"""Records folded as a worker folds them: every user's state while the time goes by, and what was bought in all.

Features know what had been *received* at a moment. Purchases, of which the labels are made, count by the time at which they
*occurred*, also those that came too late for a worker to fold.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.control import pass_gate
from stream.decode import Decoded, decode_event
from stream.errors import RejectionError
from stream.events import BehaviourEvent, Outcome
from stream.features import history_features, user_features
from stream.fold import Received, fold_event
from stream.privacy import PrivacyRules
from stream.received import received_from
from stream.record import InputRecord
from stream.render import NOTHING, render_event
from stream.state import UserState
from stream.window import WindowPolicy
from trainer.interests import LabelSet
from trainer.samples import Purchases, Snapshot

#: A purchase that came beyond the grace is no feature, but it was made.
_BOUGHT: Final = frozenset({Outcome.ACCEPTED, Outcome.LATE})
#: A line of a purchase is kept as so many.
_LINE_NUMBERS: Final = 6


class Folded(NamedTuple):
    """An event that was read, with the row of its user."""

    event: BehaviourEvent
    place: int


class LineCounts(NamedTuple):
    """What became of the lines of purchases."""

    lines: int
    """All of them."""
    no_text: int
    """They name neither product nor category, and teach nothing."""
    no_category: int
    """Their text is learnt from; they are no purchase of an interest."""
    other_category: int
    """The same: their category is no interest, for it has too few buyers."""
    other_categories: int
    """So many categories these are."""


class Recorder:
    """Holds every user's state while the events come in.

    Args:
        labels: The interests.
        users: The ids of the users that are sampled, in row order.
        end_ms: Purchases count until then, UTC ms.
    """

    def __init__(self, labels: LabelSet, users: Sequence[str], end_ms: int) -> None:
        self.labels = labels
        self._end_ms = end_ms
        self.text_rows: dict[str, int] = {}
        self._places = {user: place for place, user in enumerate(users)}
        self._policy = WindowPolicy(interest_level=labels.level)
        self._privacy = PrivacyRules()
        self._states = [UserState() for _ in users]
        self._texts: dict[int, str] = {}
        self._baskets: dict[tuple[int, str], int] = {}
        #: The numbers of each line: user, basket, interest, text, second of the purchase, second of its arrival.
        self._lines = array("q")
        self._bought: set[tuple[int, int]] = set()
        self._silent = 0
        #: Lines by the hash of a category that is no interest.
        self._other: Counter[int] = Counter()
        self._folded = 0

    def fold(self, record: InputRecord) -> Folded | None:
        """Fold one record; None if it says nothing (a bot's, one that can't be decoded, or of a user who is not sampled).

        Records must come in the order of their timestamps.
        """
        try:
            decoded = decode_event(record.value, record.timestamp)
        except RejectionError:
            return None
        event = decoded.event
        if event.is_bot:
            return None  # as in FOLD: nothing is learnt from it
        place = self._places.get(event.user_id)
        if place is None:
            return None
        # One source, numbered as the records come: offsets only tell replays apart, and an archive has none.
        self._folded += 1
        received = received_from(0, record, decoded)._replace(offset=self._folded)
        outcome = self._fold(place, decoded, received)
        # FOLD tells repeats within the grace apart, not beyond it.
        is_told = outcome in _BOUGHT and decoded.occurred_at_ms < self._end_ms
        if event.event_type == "purchase" and is_told and (place, received.event_hash) not in self._bought:
            self._bought.add((place, received.event_hash))
            self._count(decoded, place, received)
        return Folded(event, place)

    def purchases(self) -> tuple[Purchases, NDArray[np.int64]]:
        """All that was bought so far, in the order of purchase, and when (UTC epoch) each line was received."""
        columns = np.frombuffer(self._lines, dtype=np.int64).reshape(-1, _LINE_NUMBERS)
        columns = columns[np.argsort(columns[:, 4], kind="stable")].T
        household, basket, interest, text = (column.astype(np.int32) for column in columns[:4])
        return Purchases(household, basket, interest, text, columns[4].copy()), columns[5].copy()

    def line_counts(self) -> LineCounts:
        """What became of the lines so far."""
        no_category = self._other[NOTHING]
        return LineCounts(
            lines=len(self._lines) // _LINE_NUMBERS + self._silent,
            no_text=self._silent,
            no_category=no_category,
            other_category=self._other.total() - no_category,
            other_categories=len(self._other) - (NOTHING in self._other),
        )

    def read(self, now_ms: int) -> Snapshot:
        """All users at this moment."""
        states, size = self._states, self._policy.size
        rows, labels = self.labels.row_by_category, len(self.labels)
        texts = np.full((len(states), size), -1, dtype=np.int32)
        kinds = np.zeros((len(states), size), dtype=np.uint8)
        occurred = np.zeros((len(states), size), dtype=np.int64)
        for place, state in enumerate(states):
            length = len(state.window)
            texts[place, :length] = self._text_rows(state.window.texts)
            kinds[place, :length] = state.window.kinds
            occurred[place, :length] = state.window.occurred
        return Snapshot(
            history=np.stack(
                [history_features(state, rows, labels, now_ms).astype(np.float16) for state in states]
            ),
            user=np.stack([user_features(state, now_ms) for state in states]),
            window_texts=texts,
            window_kinds=kinds,
            window_occurred=occurred,
            impressions=np.array([state.exposures.impressions for state in states], dtype=np.int32),
            clicks=np.array([state.exposures.clicks for state in states], dtype=np.int32),
        )

    def _fold(self, place: int, decoded: Decoded, received: Received) -> str:
        gated = pass_gate(self._states[place], decoded, received, self._privacy)
        if gated.state is not None:
            self._states[place] = gated.state
        if gated.outcome is not None:
            return gated.outcome
        try:
            return fold_event(self._states[place], gated.decoded, received, self._policy, self._texts)
        except RejectionError:
            return Outcome.REJECTED  # its id came before with another body; the first counts

    def _count(self, decoded: Decoded, place: int, received: Received) -> None:
        event = decoded.event
        order = event.transaction_id or received.event_id.decode(errors="replace")
        basket = self._baskets.setdefault((place, order), len(self._baskets))
        times = decoded.occurred_at_ms // 1000, received.record_ms // 1000
        for text, text_hash, category in render_event(event, self._policy.interest_level):
            if not text_hash:
                self._silent += 1
                continue
            row = self.text_rows.setdefault(text, len(self.text_rows))
            interest = self.labels.row_by_category.get(category, -1)
            if interest < 0:
                self._other[category] += 1
            self._lines.extend((place, basket, interest, row, *times))

    def _text_rows(self, hashes: Iterable[int]) -> list[int]:
        # A text of a behaviour that is no purchase gets its row when it is first seen in a window.
        return [
            self.text_rows.setdefault(text, len(self.text_rows))
            for text in map(self._texts.__getitem__, hashes)
        ]
