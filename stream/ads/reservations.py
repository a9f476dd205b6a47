"""Impressions that decisions promised and that have not been reported yet; frequency caps count them too.

A reservation is made with a decision and is live for a while. An impression of its campaign that comes in settles
it: each impression settles one reservation, the oldest that it can belong to. Pure; SCORE keeps the encoding in
its own table.

Encoding (version 1), little-endian: version 1 byte, then 32 bytes per entry: campaign hash, decision hash,
made at, shown at (0: open).
"""

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Self

from stream.errors import StateVersionError
from stream.exposure import Exposures

ENCODING_VERSION: Final = 1
#: 8 KiB encoded. A user with more decisions inside two reservation times loses the oldest reservations first.
MAX_RESERVATIONS: Final = 256
#: Stands for "no impression yet".
OPEN: Final = 0
_ENTRY: Final = struct.Struct("<QQqq")


class Reservation(NamedTuple):
    """One promised impression, and when it was shown if it was."""

    campaign: int
    decision: int
    made_at_ms: int
    shown_at_ms: int = OPEN


class Reservations:
    """The reservations of one user in the order they were made; immutable."""

    __slots__ = ("entries",)

    def __init__(self, entries: Iterable[Reservation] = ()) -> None:
        self.entries: tuple[Reservation, ...] = tuple(entries)[-MAX_RESERVATIONS:]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reservations) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return f"Reservations({list(self.entries)})"

    def __len__(self) -> int:
        return len(self.entries)

    def without(self, decision: int) -> Self:
        """The same without what this decision (its hash) reserved."""
        return type(self)(entry for entry in self.entries if entry.decision != decision)

    def with_reservation(self, reservation: Reservation) -> Self:
        """The same with one more."""
        return type(self)((*self.entries, reservation))

    def settled(self, exposures: Exposures, now_ms: int, reservation_ms: int) -> Self:
        """The same with every impression given to the oldest open reservation that it can belong to.

        A settled reservation stays until no reservation that its impression could settle is live, so that the
        impression is never used twice; an open one stays while it is live. There is room for one more after it:
        the decision that adds one sees the same if it is made again.
        """
        entries: Sequence[Reservation] = self.entries
        if len(exposures) and any(entry.shown_at_ms == OPEN for entry in entries):
            # Also those that are over by now: they were the oldest when the impression was made.
            entries = _settle(entries, _unused_impressions(entries, exposures), reservation_ms)
        kept = [entry for entry in entries if _is_kept(entry, now_ms, reservation_ms)]
        return type(self)(kept[1 - MAX_RESERVATIONS :])

    def live_by_campaign(self) -> Mapping[int, int]:
        """Open reservations by campaign hash; call it on what :meth:`settled` gave."""
        return Counter(entry.campaign for entry in self.entries if entry.shown_at_ms == OPEN)

    def to_bytes(self) -> bytes:
        """The compact encoding; no bytes if there is nothing."""
        if not self.entries:
            return b""
        return bytes((ENCODING_VERSION,)) + b"".join(_ENTRY.pack(*entry) for entry in self.entries)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What :meth:`to_bytes` encoded.

        Raises:
            StateVersionError: If it was written by a newer release.
        """
        if not data:
            return cls()
        if data[0] != ENCODING_VERSION:
            raise StateVersionError(data[0], ENCODING_VERSION)
        return cls(Reservation(*fields) for fields in _ENTRY.iter_unpack(data[1:]))


def _is_kept(entry: Reservation, now_ms: int, reservation_ms: int) -> bool:
    reference_ms = entry.made_at_ms if entry.shown_at_ms == OPEN else entry.shown_at_ms
    return now_ms - reference_ms < reservation_ms


def _unused_impressions(entries: Sequence[Reservation], exposures: Exposures) -> dict[int, list[int]]:
    """Times of the impressions that settled nothing yet, by campaign, earliest first."""
    used = Counter((entry.campaign, entry.shown_at_ms) for entry in entries if entry.shown_at_ms != OPEN)
    promised = {entry.campaign for entry in entries if entry.shown_at_ms == OPEN}
    unused: dict[int, list[int]] = defaultdict(list)
    for campaign, shown_ms in zip(exposures.campaigns, exposures.shown, strict=True):
        if campaign not in promised:
            continue
        if used[campaign, shown_ms]:
            used[campaign, shown_ms] -= 1
        else:
            unused[campaign].append(shown_ms)
    for times in unused.values():
        times.sort()
    return unused


def _settle(
    entries: Sequence[Reservation], unused: Mapping[int, list[int]], reservation_ms: int
) -> list[Reservation]:
    """Oldest reservation first takes the earliest impression made inside its life."""
    by_age = sorted(range(len(entries)), key=lambda row: entries[row].made_at_ms)
    settled = list(entries)
    for row in by_age:
        entry = entries[row]
        if entry.shown_at_ms != OPEN:
            continue
        times = unused.get(entry.campaign, [])
        for index, shown_ms in enumerate(times):
            # Strictly after: an impression of the same ms may be the event that the decision answered.
            if entry.made_at_ms < shown_ms < entry.made_at_ms + reservation_ms:
                settled[row] = entry._replace(shown_at_ms=times.pop(index))
                break
    return settled
