"""The long-term profile: per category, decayed weights at several half-lives, purchases, first and last purchase.

Frequency is never forgotten: the window may move on, the counts stay. Pure and order-free up to float32 rounding.

Byte budget per category, ``ROW_BYTES`` = 48: key 8, decay reference 4, last purchase 4, first purchase 4,
purchases 4, six decayed weights 24. ``MAX_CATEGORIES`` = 256 caps a profile at 12 KiB.
"""

from array import array
from heapq import nsmallest
from typing import Final

from stream.events import EVENT_TYPES

#: Each is half of the next, so that one power gives all six decays by squaring.
HALF_LIVES_DAYS: Final = (7, 14, 28, 56, 112, 224)
LONGEST_SECONDS: Final = 224 * 86_400
MAX_CATEGORIES: Final = 256
ROW_BYTES: Final = 48
_WIDTH: Final = len(HALF_LIVES_DAYS)

#: What an act adds to the decayed weight of a category: a purchase is the unit. Shown things (lists, impressions) add
#: nothing; taking back subtracts. Only purchases are learnt from real data; the rest is a judgement, kept small.
ACTION_WEIGHTS: Final[dict[str, float]] = {
    "purchase": 1.0,
    "add_to_cart": 0.5,
    "add_to_wishlist": 0.4,
    "click": 0.25,
    "search": 0.2,
    "view_item": 0.15,
    "rating": 0.1,
    "review": 0.1,
    "ad_click": 0.25,
    "ad_dismiss": -0.1,
    "remove_from_cart": -0.5,
    "refund": -1.0,
    "view_item_list": 0.0,
    "ad_impression": 0.0,
}
#: The same by stored event-type code.
WEIGHT_BY_KIND: Final = tuple(ACTION_WEIGHTS[name] for name in EVENT_TYPES)
PURCHASE_KIND: Final = EVENT_TYPES.index("purchase")


def add_decayed(weights: "array[float]", start: int, weight: float, age_seconds: float) -> None:
    """Bring six decayed weights forward by ``age_seconds`` >= 0 and add ``weight``; a negative age decays the weight instead.

    Args:
        weights: Flat column of decayed weights.
        start: Index of the shortest half-life's weight.
        weight: What to add.
        age_seconds: Time of the act minus the reference time of the stored weights.
    """
    factor = 2.0 ** (-abs(age_seconds) / LONGEST_SECONDS)
    if age_seconds >= 0:
        for index in range(start + _WIDTH - 1, start - 1, -1):
            weights[index] = weights[index] * factor + weight
            factor *= factor
    else:
        for index in range(start + _WIDTH - 1, start - 1, -1):
            weights[index] += weight * factor
            factor *= factor


def add_decayed_sums(
    weights: "array[float]", start: int, more: "array[float]", other: int, ahead: float
) -> None:
    """Add six decayed sums to others, both as of the later of their reference times.

    Args:
        weights: Flat column of decayed weights; changed.
        start: Index in it of the shortest half-life's weight.
        more: The column to add from.
        other: Index in that.
        ahead: Seconds from the reference of ``weights`` to that of ``more``.
    """
    factor = 2.0 ** (-abs(ahead) / LONGEST_SECONDS)
    for half_life in range(_WIDTH - 1, -1, -1):
        kept, added = weights[start + half_life], more[other + half_life]
        weights[start + half_life] = kept * factor + added if ahead >= 0 else kept + added * factor
        factor *= factor


class Profile:
    """Columns by category; row order is the order of first appearance."""

    __slots__ = ("_rows", "categories", "first", "last", "purchases", "reference", "weights")

    def __init__(self) -> None:
        self.categories = array("Q")
        #: Time (s) that the decayed weights refer to.
        self.reference = array("I")
        self.last = array("I")
        self.first = array("I")
        self.purchases = array("I")
        #: ``_WIDTH`` per category, shortest half-life first.
        self.weights = array("f")
        self._rows: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self.categories)

    def row_of(self, category: int) -> int | None:
        """The category's row, or None if it was never met."""
        if self._rows is None:
            self._rows = {key: row for row, key in enumerate(self.categories)}
        return self._rows.get(category)

    def add(self, category: int, kind: int, occurred_at_ms: int) -> None:
        """Take note of one act of type ``kind`` on a category.

        A full profile forgets the category whose longest-lived weight is least before it takes in a new one.
        """
        weight = WEIGHT_BY_KIND[kind]
        if not weight:
            return
        seconds = occurred_at_ms // 1000
        row = self.row_of(category)
        if row is None:
            if len(self.categories) >= MAX_CATEGORIES:
                self._forget_least(seconds)
            row = self._append(category, seconds, weight)
        else:
            age = seconds - self.reference[row]
            add_decayed(self.weights, row * _WIDTH, weight, age)
            if age > 0:
                self.reference[row] = seconds
        if kind == PURCHASE_KIND:
            self._count_purchase(row, seconds)

    def merge(self, other: "Profile") -> None:
        """Take in all that another profile counted; beyond the cap the least weights of both together are forgotten."""
        for theirs, category in enumerate(other.categories):
            row = self.row_of(category)
            if row is None:
                row = self._append(category, other.reference[theirs], 0.0)
            ahead = other.reference[theirs] - self.reference[row]
            add_decayed_sums(self.weights, row * _WIDTH, other.weights, theirs * _WIDTH, ahead)
            self.reference[row] = max(self.reference[row], other.reference[theirs])
            self.purchases[row] += other.purchases[theirs]
            self.last[row] = max(self.last[row], other.last[theirs])
            first = [moment for moment in (self.first[row], other.first[theirs]) if moment]
            self.first[row] = min(first, default=0)
        if len(self.categories) > MAX_CATEGORIES:
            self._forget_least(max(self.reference), len(self.categories) - MAX_CATEGORIES)

    def _count_purchase(self, row: int, seconds: int) -> None:
        self.purchases[row] += 1
        self.last[row] = max(self.last[row], seconds)
        first = self.first[row]
        self.first[row] = seconds if first == 0 else min(first, seconds)

    def _append(self, category: int, seconds: int, weight: float) -> int:
        row = len(self.categories)
        self.categories.append(category)
        self.reference.append(seconds)
        self.last.append(0)
        self.first.append(0)
        self.purchases.append(0)
        self.weights.extend((weight,) * _WIDTH)
        assert self._rows is not None
        self._rows[category] = row
        return row

    def _forget_least(self, now_seconds: int, count: int = 1) -> None:
        def remaining(row: int) -> tuple[float, int]:
            age = now_seconds - self.reference[row]
            weight = self.weights[row * _WIDTH + _WIDTH - 1]
            return float(weight * 2.0 ** (-age / LONGEST_SECONDS)), self.categories[row]

        for row in sorted(nsmallest(count, range(len(self.categories)), key=remaining), reverse=True):
            for column in (self.categories, self.reference, self.last, self.first, self.purchases):
                del column[row]
            del self.weights[row * _WIDTH : (row + 1) * _WIDTH]
        self._rows = None
        self.row_of(0)
