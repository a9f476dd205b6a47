"""When quiet users are looked at again: scores decay, and behaviours leave the window, without any event."""

import heapq
from typing import Final, NamedTuple

#: Entries of users who are gone, beside as many as there are reviews, that are not worth a clearing.
_SPARE_ENTRIES: Final = 1_000


class Review(NamedTuple):
    """A user to look at from ``at_ms`` on, in stream time."""

    at_ms: int
    partition: int
    key: bytes


def next_review_ms(at_ms: int, now_ms: int, period_ms: int) -> int:
    """When a user that was scored as of ``at_ms`` is looked at again: a whole number of periods later.

    Who was quiet for many periods until now is looked at as of the last of them, not once for each.
    """
    return at_ms + max((now_ms - at_ms) // period_ms, 1) * period_ms


class Reviews:
    """A calendar with one review per user, the one planned last; bounded by the users, not by their scorings."""

    def __init__(self, spare_entries: int = _SPARE_ENTRIES) -> None:
        self._spare_entries = spare_entries
        self._planned: dict[bytes, Review] = {}
        #: A user's entry may stand earlier than his review: it is moved when its turn comes.
        self._heap: list[Review] = []
        self._entered_at: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._planned)

    def plan(self, review: Review) -> None:
        """Note a review in place of an earlier plan; 0 means never."""
        if not review.at_ms:
            self._planned.pop(review.key, None)
            self._clear_entries()
            return
        self._planned[review.key] = review
        entered_at = self._entered_at.get(review.key)
        if entered_at is None or review.at_ms < entered_at:
            self._enter(review)

    def take(self, now_ms: int, most: int) -> list[Review]:
        """Up to ``most`` reviews whose time has come, earliest first."""
        taken: list[Review] = []
        while self._heap and len(taken) < most and self._heap[0].at_ms <= now_ms:
            entry = heapq.heappop(self._heap)
            if self._entered_at.get(entry.key) != entry.at_ms:
                continue  # an earlier entry of this user took its place
            del self._entered_at[entry.key]
            review = self._planned.get(entry.key)
            if review is None:
                continue
            if review.at_ms > entry.at_ms:
                self._enter(review)
                continue
            del self._planned[entry.key]
            taken.append(review)
        return taken

    def clear(self) -> None:
        """Forget all of them."""
        self._planned.clear()
        self._heap.clear()
        self._entered_at.clear()

    def _clear_entries(self) -> None:
        """Of users without a review, once most are: where many come once and are forgotten, a day holds millions of them."""
        if len(self._heap) > 2 * len(self._planned) + self._spare_entries:
            self._heap = list(self._planned.values())
            heapq.heapify(self._heap)
            self._entered_at = {review.key: review.at_ms for review in self._heap}

    def _enter(self, review: Review) -> None:
        heapq.heappush(self._heap, review)
        self._entered_at[review.key] = review.at_ms
