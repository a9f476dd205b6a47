"""The dead letter of a rejected record: its raw bytes unchanged, and headers that say why.

Header names are those of Kafka Streams' dead letter queue (KIP-1034), so that tools for it work here, too.
"""

import hashlib
import re
import traceback
from collections.abc import Sequence
from typing import Final, NamedTuple

from stream.decode import MAX_VALUE_BYTES
from stream.errors import RejectionError
from stream.events import SCHEMA_MAJOR, Reason
from stream.record import InputRecord
from stream.user_ids import key_names_a_person

Headers = list[tuple[str, bytes]]

#: The closed reason (stream.events.Reason): what a replay selects by.
REASON_HEADER: Final = "interestflow.reason"
#: Of a dead letter and of a replayed record: which try it is, the first is 1.
ATTEMPT_HEADER: Final = "interestflow.attempt"
#: Of a replayed record: the dead letter that it was, as ``partition:offset``; its next dead letter says it, too.
LETTER_HEADER: Final = "interestflow.dead-letter"
#: Of the marker that a replay leaves on the dead-letter topic: the letter that needs no other.
MARKER_HEADER: Final = "interestflow.replayed"
#: The rejected record's own timestamp, for replays in virtual time.
TIMESTAMP_HEADER: Final = "interestflow.timestamp-ms"
ERROR_PREFIX: Final = "__streams.errors."
#: Only there if a key or value was cut: the length of the whole.
LENGTH_HEADERS: Final = ("interestflow.key-bytes", "interestflow.value-bytes")
#: What was left out of the letter because it names a person.
REDACTED_HEADER: Final = "interestflow.redacted"
SOURCE_TOPIC_HEADER: Final = ERROR_PREFIX + "topic"
#: A stack trace is for reading, not for archiving.
_MAX_TRACE_BYTES: Final = 4096
#: Of a key or value that is too large only the start is kept, with the hash of the whole: a broker must take it.
_KEPT_BYTES: Final = 1024
#: Nobody tries so often; longer ones are made up.
_MAX_ATTEMPT_DIGITS: Final = 4
_PLACE: Final = re.compile(rb"\d{1,6}:\d{1,19}")


class DeadLetter(NamedTuple):
    """The record that tells of a rejected one."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter(record: InputRecord, error: RejectionError, app_version: str) -> DeadLetter:
    """The dead letter of a record: its own key and value, and why it is here.

    One whose id names a person keeps neither, whatever else is wrong with it: where it stood in its log says enough.
    """
    redacted = error.reason == Reason.PII_IN_ID or key_names_a_person(record.key)
    # A trace quotes what was read.
    trace = b"" if redacted else "".join(traceback.format_exception(error)).encode()[-_MAX_TRACE_BYTES:]
    message = str(error.reason) if redacted else error.detail
    headers: Headers = [
        (ERROR_PREFIX + "exception", type(error).__name__.encode()),
        (ERROR_PREFIX + "message", message.encode()[:_KEPT_BYTES]),
        (ERROR_PREFIX + "stacktrace", trace),
        (SOURCE_TOPIC_HEADER, record.topic.encode()),
        (ERROR_PREFIX + "partition", str(record.partition).encode()),
        (ERROR_PREFIX + "offset", str(record.offset).encode()),
        (REASON_HEADER, str(error.reason).encode()),
        ("interestflow.schema-version", f"{SCHEMA_MAJOR}.0".encode()),
        ("interestflow.app-version", app_version.encode()),
        (TIMESTAMP_HEADER, str(record.timestamp).encode()),
        (ATTEMPT_HEADER, str(attempt_of(record.headers)).encode()),
        *_former_letter(record.headers),
    ]
    if redacted:
        return DeadLetter(None, None, [*headers, (REDACTED_HEADER, b"key,value")])
    key, about_key = _kept("key", record.key)
    value, about_value = _kept("value", record.value)
    return DeadLetter(key, value, [*headers, *about_key, *about_value])


def attempt_of(headers: Sequence[tuple[str, bytes]]) -> int:
    """Which try of a record these headers are of: what a replay says, or the first."""
    for name, content in headers:
        if name == ATTEMPT_HEADER and content and len(content) <= _MAX_ATTEMPT_DIGITS and content.isdigit():
            return max(1, int(content))
    return 1


def _former_letter(headers: Sequence[tuple[str, bytes]]) -> Headers:
    """At most one, however many a hostile record has."""
    named = (content for name, content in headers if name == LETTER_HEADER and content)
    return [(LETTER_HEADER, content) for content in named if _PLACE.fullmatch(content)][:1]


def _kept(part: str, content: bytes | None) -> tuple[bytes | None, Headers]:
    if content is None or len(content) <= MAX_VALUE_BYTES:
        return content, []
    return content[:_KEPT_BYTES], [
        (f"interestflow.{part}-bytes", str(len(content)).encode()),
        (f"interestflow.{part}-sha256", hashlib.sha256(content).hexdigest().encode()),
    ]
