"""The behaviour window: the last N behaviours of a user inside a time span, in event-time order.

Pure and order-free: the same behaviours in any order of arrival leave the same window.
Columns, not objects, so that encoding joins a handful of buffers.
"""

from array import array
from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000


class WindowPolicy(NamedTuple):
    """How much a window holds and how late an event may come."""

    size: int = 64
    span_ms: int = 30 * DAY_MS
    #: A later event is dropped and counted; ids are remembered for as long, so that no duplicate slips in.
    lateness_grace_ms: int = DAY_MS
    #: More than 1,024 events of one user within it are a machine's; 0: nobody is throttled.
    throttle_span_ms: int = 60_000
    #: Which item category is the interest, see stream.render.
    interest_level: int = 2


class Behaviour(NamedTuple):
    """One item of one event; sorts by time, then event id, then position in the event."""

    occurred_at_ms: int
    event_id: bytes
    position: int
    kind: int
    category_hash: int
    text_hash: int


class BehaviourWindow:
    """Behaviours in (time, event id, position) order, oldest first."""

    __slots__ = ("categories", "event_ids", "kinds", "occurred", "positions", "texts")

    def __init__(self) -> None:
        self.occurred = array("q")
        self.event_ids: list[bytes] = []
        self.positions = array("B")
        self.kinds = array("B")
        self.categories = array("Q")
        self.texts = array("Q")

    def __len__(self) -> int:
        return len(self.occurred)

    def behaviour(self, row: int) -> Behaviour:
        """The behaviour at ``row``, 0 the oldest."""
        return Behaviour(
            self.occurred[row],
            self.event_ids[row],
            self.positions[row],
            self.kinds[row],
            self.categories[row],
            self.texts[row],
        )

    def behaviours(self) -> list[Behaviour]:
        """All of them, oldest first."""
        return [self.behaviour(row) for row in range(len(self))]

    def add(self, behaviour: Behaviour, policy: WindowPolicy) -> None:
        """Put a behaviour at its place; the oldest fall out beyond ``policy.size``."""
        row = self._place(behaviour)
        if row == 0 and len(self.occurred) >= policy.size:
            return  # older than everything in a full window
        occurred, event_id, position, kind, category, text = behaviour
        self.occurred.insert(row, occurred)
        self.event_ids.insert(row, event_id)
        self.positions.insert(row, position)
        self.kinds.insert(row, kind)
        self.categories.insert(row, category)
        self.texts.insert(row, text)
        while len(self.occurred) > policy.size:
            self.drop_oldest()

    def _place(self, behaviour: Behaviour) -> int:
        """Row by the whole behaviour: two sources may use one event id at one moment, and order must not tell."""
        occurred, at_ms = self.occurred, behaviour.occurred_at_ms
        row = bisect_left(occurred, at_ms)
        if row == len(occurred) or occurred[row] != at_ms:
            return row
        same_moment = range(bisect_right(occurred, at_ms, lo=row))
        return bisect_left(same_moment, behaviour, lo=row, key=self.behaviour)

    def drop_oldest(self) -> None:
        """Let the oldest behaviour go."""
        for column in (
            self.occurred,
            self.event_ids,
            self.positions,
            self.kinds,
            self.categories,
            self.texts,
        ):
            del column[0]

    def expire(self, before_ms: int) -> None:
        """Let go what happened before ``before_ms``."""
        occurred = self.occurred
        while occurred and occurred[0] < before_ms:
            self.drop_oldest()
