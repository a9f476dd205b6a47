"""Dead letters as records of their topic: read, chosen, and told from the markers of replays among them."""

import heapq
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from stream.dead_letter import (
    ATTEMPT_HEADER,
    ERROR_PREFIX,
    LENGTH_HEADERS,
    MARKER_HEADER,
    REASON_HEADER,
    attempt_of,
)
from stream.errors import ConfigurationError
from stream.record import InputRecord

#: What a letter without a header says; Kafka Streams' letters, for example, have no reason.
UNKNOWN: Final = "unknown"
_PLACE: Final = re.compile(r"(\d{1,6}):(\d{1,19})")


class Place(NamedTuple):
    """Where a letter stands on the dead-letter topic; written ``partition:offset``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """As commands and headers write it."""
        return f"{self.partition}:{self.offset}"


class Letter(NamedTuple):
    """One dead letter; whatever its headers lack is ``unknown`` or -1."""

    place: Place
    #: When it was written, UTC ms.
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    reason: str
    #: Of the rejected record.
    topic: str
    partition: int
    offset: int
    attempt: int
    message: str

    @property
    def is_cut(self) -> bool:
        """Whether only the start of its key or value was kept."""
        return any(name in self.headers for name in LENGTH_HEADERS)


def read_letter(record: InputRecord) -> Letter:
    """The letter that a record of the dead-letter topic is; any record gives one."""
    headers = {name: content or b"" for name, content in record.headers}
    return Letter(
        Place(record.partition, record.offset),
        record.timestamp,
        record.key,
        record.value,
        headers,
        _text(headers, REASON_HEADER, UNKNOWN),
        _text(headers, ERROR_PREFIX + "topic", UNKNOWN),
        _number(headers, ERROR_PREFIX + "partition"),
        _number(headers, ERROR_PREFIX + "offset"),
        attempt_of([(ATTEMPT_HEADER, headers.get(ATTEMPT_HEADER, b""))]),
        _text(headers, ERROR_PREFIX + "message", ""),
    )


def is_marker(record: InputRecord) -> bool:
    """Whether a record of the dead-letter topic is no letter but the mark of a replay."""
    return any(name == MARKER_HEADER for name, _ in record.headers)


def marked_place(record: InputRecord) -> Place | None:
    """The letter that a marker says was replayed; None for a letter, and for a marker that is none of ours."""
    for name, content in record.headers:
        if name == MARKER_HEADER:
            found = _PLACE.fullmatch((content or b"").decode(errors="replace"))
            place = found and Place(int(found[1]), int(found[2]))
            # A marker lives as long as its letter only on the same partition, and behind it.
            return place if place and place.partition == record.partition and place < _place(record) else None
    return None


def parse_place(text: str) -> Place:
    """A place as it is typed.

    Raises:
        ConfigurationError: If it is none.
    """
    found = _PLACE.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"{text!r} is no place of a dead letter: write partition:offset as `interestflow dlq list` does, such as 2:17"
        )
    return Place(int(found[1]), int(found[2]))


class Selection(NamedTuple):
    """Which letters a command is about; an empty set takes all."""

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    places: frozenset[Place] = frozenset()
    since_ms: int = 0

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        wanted = (
            (self.reasons, letter.reason),
            (self.topics, letter.topic),
            (self.partitions, letter.place.partition),
            (self.places, letter.place),
        )
        return letter.timestamp_ms >= self.since_ms and all(
            not choices or found in choices for choices, found in wanted
        )


class Ordered:
    """Of all letters that it is shown, the newest or the oldest so many; more are not held."""

    def __init__(self, most: int, *, newest: bool) -> None:
        self._most = most
        self._sign = 1 if newest else -1
        self._heap: list[tuple[int, int, int, Letter]] = []
        #: Letters shown and not kept.
        self.left_out = 0

    def show(self, letter: Letter) -> None:
        """Keep it, if it is one of them so far."""
        sign, place = self._sign, letter.place
        entry = (sign * letter.timestamp_ms, sign * place.partition, sign * place.offset, letter)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)
            self.left_out += 1

    def letters(self) -> list[Letter]:
        """In the order of time, whichever were kept."""
        return [entry[-1] for entry in sorted(self._heap, reverse=self._sign < 0)]


def _place(record: InputRecord) -> Place:
    return Place(record.partition, record.offset)


def _text(headers: Mapping[str, bytes], name: str, absent: str) -> str:
    return headers[name].decode(errors="replace") if headers.get(name) else absent


def _number(headers: Mapping[str, bytes], name: str) -> int:
    content = headers.get(name, b"")
    return int(content) if len(content) < 20 and content.isdigit() else -1
