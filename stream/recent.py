"""Event ids seen within the lateness grace, with a hash of their body: what duplicates are recognised by."""

from array import array
from typing import Final

#: 20 bytes each; a user with more events within the grace loses the oldest ids first.
MAX_RECENT_IDS: Final = 1024


class RecentIds:
    """Ids in order of arrival, with a lookup from id to body."""

    __slots__ = ("_bodies", "bodies", "ids", "occurred")

    def __init__(self) -> None:
        self.ids = array("Q")
        self.bodies = array("I")
        self.occurred = array("q")
        self._bodies: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def body_of(self, event_hash: int) -> int | None:
        """The body hash that came with this id, or None if the id is new."""
        if self._bodies is None:
            self._bodies = dict(zip(self.ids, self.bodies, strict=True))
        return self._bodies.get(event_hash)

    def is_flooded(self, occurred_at_ms: int, span_ms: int) -> bool:
        """Whether as many events as are remembered came within ``span_ms`` of this one: no person does that.

        Counted in event time, which is in the record: a replay tells the same events apart. It needs no clock and no
        byte of its own, and it keeps a flood from washing out the ids that duplicates are known by.
        """
        return len(self.ids) >= MAX_RECENT_IDS and abs(occurred_at_ms - self.occurred[0]) < span_ms

    def remember(self, event_hash: int, body: int, occurred_at_ms: int) -> None:
        """Keep an id that is new."""
        if len(self.ids) >= MAX_RECENT_IDS:
            self._drop_first()
        self.ids.append(event_hash)
        self.bodies.append(body)
        self.occurred.append(occurred_at_ms)
        if self._bodies is not None:
            self._bodies[event_hash] = body

    def merge(self, other: "RecentIds") -> None:
        """Take in the ids of another user, in the order of their events; of an id in both, our body stands."""
        known = {
            event_hash: (occurred, body)
            for ids in (other, self)
            for event_hash, body, occurred in zip(ids.ids, ids.bodies, ids.occurred, strict=True)
        }
        rows = sorted((occurred, event_hash, body) for event_hash, (occurred, body) in known.items())
        rows = rows[-MAX_RECENT_IDS:]
        self.occurred = array("q", [row[0] for row in rows])
        self.ids = array("Q", [row[1] for row in rows])
        self.bodies = array("I", [row[2] for row in rows])
        self._bodies = None

    def expire(self, before_ms: int) -> None:
        """Let go ids whose event is older than ``before_ms``, as far as they are the first that arrived.

        An id behind a younger one stays a little longer, which costs bytes and never lets a duplicate in.
        """
        occurred = self.occurred
        while occurred and occurred[0] < before_ms:
            self._drop_first()

    def _drop_first(self) -> None:
        if self._bodies is not None:
            self._bodies.pop(self.ids[0], None)
        del self.ids[0], self.bodies[0], self.occurred[0]
