"""The proof of an erasure: for each topic and store what was found of the user, why it goes away, and by when."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import orjson

#: An id that is shorter may stand anywhere by chance; it counts only where it is a whole JSON text.
_RAW_SEARCH_BYTES: Final = 8
_RETENTION: Final = "retention.ms"
_SEGMENT: Final = "segment.ms"
_COMPACTION: Final = "max.compaction.lag.ms"
_TOMBSTONES: Final = "delete.retention.ms"
#: What brokers say for "never".
_NEVER_MS: Final = 2**62


class Found(NamedTuple):
    """What a search of one topic came upon."""

    by_key: int
    """Records keyed by the user, tombstones left out."""
    in_value: int
    """Other records whose value names the user."""
    in_force: bool
    """Whether the last record of the user's key has a value."""
    newest_ms: int
    """Timestamp of the newest of all these, 0 if there are none."""


@dataclass(frozen=True, slots=True)
class Place:
    """One topic or store in the report."""

    place: str
    mechanism: Literal["retention", "tombstone", "no reference", "deleted"]
    found_by_key: int
    found_in_value: int
    #: Whether the service still goes by it; superseded values only wait to be removed.
    in_force: bool
    #: UTC ms after which nothing is left, 0 if nothing is there now; None if nobody promises it.
    gone_by_ms: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole proof. It names the user by the marker's hash only, so that it may be kept."""

    user_hash: str
    requested_at_ms: int
    #: Whether a worker carried it out to its last step while the command waited.
    carried_out: bool
    places: tuple[Place, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the user is in force any more."""
        return self.carried_out and not any(place.in_force for place in self.places)

    @property
    def gone_by_ms(self) -> int | None:
        """When the last of it is gone; None if a place promises nothing."""
        times = [place.gone_by_ms for place in self.places]
        return None if None in times else max((time for time in times if time is not None), default=0)

    def to_json(self) -> bytes:
        """The report as a JSON document."""
        document: dict[str, Any] = asdict(self)
        document |= {"complete": self.is_complete, "gone_by_ms": self.gone_by_ms}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"

    def lines(self) -> list[str]:
        """The report as a table."""
        head = f"{'place':<42} {'mechanism':<13} {'by key':>7} {'in value':>9}  {'gone by':<17} state"
        rows = [
            f"{one.place:<42} {one.mechanism:<13} {one.found_by_key:>7} {one.found_in_value:>9}  "
            f"{_moment(one.gone_by_ms):<17} {'IN FORCE' if one.in_force else 'ok'}"
            for one in self.places
        ]
        return [head, *rows]


def mentions(value: bytes, user: bytes) -> bool:
    """Whether a record's value names the user: as a JSON text, or raw if the id is long enough to be no chance."""
    return orjson.dumps(user.decode()) in value or (len(user) >= _RAW_SEARCH_BYTES and user in value)


def topic_place(
    topic: str, found: Found, config: Mapping[str, str], *, compacted: bool, now_ms: int
) -> Place:
    """The row of a topic.

    Args:
        topic: Its name.
        found: What a search came upon.
        config: Its configuration in force; empty if the broker does not tell it.
        compacted: Whether it is kept by key, or by age.
        now_ms: When the search was made.
    """
    is_there = bool(found.by_key or found.in_value)
    gone_by = _compacted_by(config, now_ms) if compacted else _aged_by(config, found.newest_ms)
    return Place(
        place=topic,
        mechanism="tombstone" if compacted else "retention",
        found_by_key=found.by_key,
        found_in_value=found.in_value,
        in_force=compacted and found.in_force,
        gone_by_ms=gone_by if is_there else 0,
    )


def _aged_by(config: Mapping[str, str], newest_ms: int) -> int | None:
    """A log goes segment by segment: a record may wait for the end of its own."""
    retention = _ms(config, _RETENTION)
    segment = _ms(config, _SEGMENT)
    return None if retention is None or segment is None else newest_ms + retention + segment


def _compacted_by(config: Mapping[str, str], now_ms: int) -> int | None:
    """Values go with the next compaction; the tombstone, which still has the key, with the one after its own time."""
    lag, tombstones = _ms(config, _COMPACTION), _ms(config, _TOMBSTONES)
    return None if lag is None or tombstones is None else now_ms + 2 * lag + tombstones


def _ms(config: Mapping[str, str], name: str) -> int | None:
    value = int(config.get(name, "-1"))
    return value if 0 <= value < _NEVER_MS else None


def _moment(at_ms: int | None) -> str:
    if at_ms is None:
        return "not promised"
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}" if at_ms else "nothing there"
