"""The dead letter of a rejected record: its raw bytes unchanged, and headers that say why.

Header names are those of Kafka Streams' dead letter queue (KIP-1034), so that tools for it work here, too.
"""

import hashlib
import traceback
from typing import Final, NamedTuple

from stream.decode import MAX_VALUE_BYTES
from stream.errors import RejectionError
from stream.events import SCHEMA_MAJOR, Reason
from stream.record import InputRecord
from stream.user_ids import key_names_a_person

Headers = list[tuple[str, bytes]]

#: The closed reason (stream.events.Reason): what a replay selects by.
REASON_HEADER: Final = "interestflow.reason"
#: What was left out of the letter because it names a person.
REDACTED_HEADER: Final = "interestflow.redacted"
_PREFIX: Final = "__streams.errors."
SOURCE_TOPIC_HEADER: Final = _PREFIX + "topic"
#: A stack trace is for reading, not for archiving.
_MAX_TRACE_BYTES: Final = 4096
#: Of a key or value that is too large only the start is kept, with the hash of the whole: a broker must take it.
_KEPT_BYTES: Final = 1024


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
        (_PREFIX + "exception", type(error).__name__.encode()),
        (_PREFIX + "message", message.encode()[:_KEPT_BYTES]),
        (_PREFIX + "stacktrace", trace),
        (SOURCE_TOPIC_HEADER, record.topic.encode()),
        (_PREFIX + "partition", str(record.partition).encode()),
        (_PREFIX + "offset", str(record.offset).encode()),
        (REASON_HEADER, str(error.reason).encode()),
        ("interestflow.schema-version", f"{SCHEMA_MAJOR}.0".encode()),
        ("interestflow.app-version", app_version.encode()),
        ("interestflow.attempt", b"1"),
    ]
    if redacted:
        return DeadLetter(None, None, [*headers, (REDACTED_HEADER, b"key,value")])
    key, about_key = _kept("key", record.key)
    value, about_value = _kept("value", record.value)
    return DeadLetter(key, value, [*headers, *about_key, *about_value])


def _kept(part: str, content: bytes | None) -> tuple[bytes | None, Headers]:
    if content is None or len(content) <= MAX_VALUE_BYTES:
        return content, []
    return content[:_KEPT_BYTES], [
        (f"interestflow.{part}-bytes", str(len(content)).encode()),
        (f"interestflow.{part}-sha256", hashlib.sha256(content).hexdigest().encode()),
    ]
