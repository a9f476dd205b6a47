"""Who is to be scored: each user once, however many events came; oldest first, purchases before the rest.

Pure; times are monotonic seconds passed in. The set is bounded by the active users. It is rebuilt from the two
tables after a restart, because being due is a matter of revisions, not of having been noted here.
"""

import heapq
from dataclasses import dataclass
from typing import NamedTuple


class DueUser(NamedTuple):
    """A user taken for scoring."""

    partition: int
    key: bytes
    #: Wall clock (ms) at which the oldest unscored event was appended; 0 if not known.
    appended_ms: int
    #: When the user became due, monotonic seconds.
    since: float


@dataclass(slots=True)
class _Entry:
    partition: int
    appended_ms: int
    since: float
    urgent: bool
    not_before: float
    ticket: int


class DueUsers:
    """A priority queue with one entry per user."""

    def __init__(self, min_interval_seconds: float) -> None:
        self._min_interval = min_interval_seconds
        self._entries: dict[bytes, _Entry] = {}
        #: (not urgent, since, ticket, key) of those whose time has come; entries with an old ticket are skipped.
        self._heap: list[tuple[bool, float, int, bytes]] = []
        self._waiting: list[tuple[float, int, bytes]] = []
        self._scored_at: dict[bytes, float] = {}
        #: Taken and not done yet; news of them waits, so that an older result never comes after a newer one.
        self._in_hand: dict[bytes, float] = {}
        self._deferred: dict[bytes, _Entry] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._entries) + len(self._in_hand)

    def mark(
        self, partition: int, key: bytes, now: float, *, appended_ms: int = 0, urgent: bool = False
    ) -> None:
        """Say that a user has news; keeps the oldest time and the highest urgency of several marks."""
        entry = self._entries.get(key) or self._deferred.get(key)
        if entry is None:
            scored_at = self._scored_at.get(key)
            not_before = now if scored_at is None else max(now, scored_at + self._min_interval)
            entry = _Entry(partition, appended_ms, now, urgent, not_before, 0)
            if key in self._in_hand:
                self._deferred[key] = entry
            else:
                self._push(key, entry, now)
            return
        entry.partition = partition
        if appended_ms and not entry.appended_ms:
            entry.appended_ms = appended_ms
        if urgent and not entry.urgent:
            entry.urgent = True
            if key in self._entries:
                self._push(key, entry, now)

    def done(self, user: DueUser, now: float, *, retry_in_seconds: float | None = None) -> None:
        """Say that a taken user was dealt with, or is to be tried again; news that came meanwhile counts from here."""
        self._in_hand.pop(user.key, None)
        entry = self._deferred.pop(user.key, None)
        if retry_in_seconds is not None:
            entry = entry or _Entry(
                user.partition, user.appended_ms, user.since, urgent=False, not_before=0.0, ticket=0
            )
            entry.since = min(entry.since, user.since)
            entry.appended_ms = user.appended_ms or entry.appended_ms
            entry.not_before = now + retry_in_seconds
        if entry is not None and user.key not in self._entries:
            self._push(user.key, entry, now)

    def take(self, most: int, now: float) -> list[DueUser]:
        """Up to ``most`` users whose time has come; each is in hand until it is said to be done."""
        self._promote(now)
        taken: list[DueUser] = []
        while self._heap and len(taken) < most:
            _, _, ticket, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.ticket != ticket:
                continue
            del self._entries[key]
            self._scored_at[key] = now
            self._in_hand[key] = entry.since
            taken.append(DueUser(entry.partition, key, entry.appended_ms, entry.since))
        self._forget_scored(now)
        return taken

    def next_in(self, now: float) -> float | None:
        """Seconds until somebody can be taken, 0 if now; None if nobody is due."""
        if not self._entries:
            return None
        if self._heap:
            return 0.0
        return max(self._waiting[0][0] - now, 0.0) if self._waiting else None

    def oldest_since(self) -> float | None:
        """Since when the longest-waiting user is due, monotonic seconds."""
        waiting = min((entry.since for entry in self._entries.values()), default=None)
        in_hand = min(self._in_hand.values(), default=None)
        return min((since for since in (waiting, in_hand) if since is not None), default=None)

    def clear(self) -> None:
        """Forget everybody."""
        self._entries.clear()
        self._deferred.clear()
        self._in_hand.clear()
        self._heap.clear()
        self._waiting.clear()

    def _push(self, key: bytes, entry: _Entry, now: float) -> None:
        self._tickets += 1
        entry.ticket = self._tickets
        self._entries[key] = entry
        if entry.not_before <= now:
            heapq.heappush(self._heap, (not entry.urgent, entry.since, entry.ticket, key))
        else:
            heapq.heappush(self._waiting, (entry.not_before, entry.ticket, key))

    def _promote(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, ticket, key = heapq.heappop(self._waiting)
            entry = self._entries.get(key)
            if entry is not None and entry.ticket == ticket:
                heapq.heappush(self._heap, (not entry.urgent, entry.since, ticket, key))

    def _forget_scored(self, now: float) -> None:
        """Times of scoring matter for the minimum interval only."""
        if len(self._scored_at) > 2 * len(self._entries) + 10_000:
            horizon = now - self._min_interval
            self._scored_at = {key: at for key, at in self._scored_at.items() if at > horizon}
