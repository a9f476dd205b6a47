"""Whom the state forgets: users of whom nothing came for long, and beyond a cap those who were quiet longest."""

import heapq
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from stream.fold import ERASED_MARKER_MS
from stream.ties import REDIRECT_MS

Why = Literal["expired", "crowded"]

#: A sweep of a crowded worker makes room for so much more than it must, or the next bundle would start another.
_ROOM_RATIO: Final = 0.05


class EvictionRules(NamedTuple):
    """When a user is forgotten; 0: never."""

    #: At least the span of the window and of the lateness grace: only the long-term profile is lost.
    ttl_ms: int = 0
    max_users: int = 0


class Seen(NamedTuple):
    """A user of a partition, and when FOLD last applied an event of his."""

    folded_at_ms: int
    key: bytes
    is_erased: bool
    """The marker of an erasure: it must not go before its time, or the stragglers would come back."""
    is_moved: bool = False
    """The redirect of a merged user: after its time it only names two ids of a person."""


def is_crowded(users: int, rules: EvictionRules) -> bool:
    """Whether more users are held than may be."""
    return 0 < rules.max_users < users


def evicted(seen: Iterable[Seen], now_ms: int, rules: EvictionRules, most: int) -> dict[bytes, Why]:
    """Whom a partition forgets, and why.

    Args:
        seen: All users of the partition.
        now_ms: Stream time.
        rules: For how long a user is kept.
        most: Users that this partition may hold; 0: any number.
    """
    gone: dict[bytes, Why] = {}
    kept: list[Seen] = []
    before_ms = now_ms - rules.ttl_ms if rules.ttl_ms else 0
    marker_before_ms = min(before_ms, now_ms - ERASED_MARKER_MS)
    moved_before_ms = max(before_ms, now_ms - REDIRECT_MS)
    markers = 0
    for one in seen:
        limit_ms = moved_before_ms if one.is_moved else marker_before_ms if one.is_erased else before_ms
        if one.folded_at_ms < limit_ms:
            gone[one.key] = "expired"
        elif one.is_erased:
            markers += 1
        else:
            kept.append(one)
    if most and len(kept) + markers > most:
        room = int(most * (1.0 - _ROOM_RATIO))
        gone.update((one.key, "crowded") for one in heapq.nsmallest(len(kept) + markers - room, kept))
    return gone
