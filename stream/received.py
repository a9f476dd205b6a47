"""Where a record stood, and by what its event is known again."""

import zlib
from typing import Final

from stream.decode import Decoded
from stream.fold import Received, event_hash
from stream.record import InputRecord

#: Replays say here when a record was really sent, because its timestamp is virtual.
SENT_HEADER: Final = "sent-at-ms"
#: Longer ones are no milliseconds.
_MAX_SENT_DIGITS: Final = 15


def received_from(source: int, record: InputRecord, decoded: Decoded) -> Received:
    """Place, time and identity of a decoded record; without an event id the body is the identity."""
    event = decoded.event
    value = record.value or b""
    if event.event_id is None:
        event_id = f"{zlib.crc32(value):08x}{len(value):x}".encode()
        identity = event_hash("\0", value)
    else:
        event_id = event.event_id.encode()
        identity = event_hash(event.source, event_id)
    return Received(source, record.offset, record.timestamp, identity, zlib.crc32(value), event_id)


def appended_ms(record: InputRecord, *, virtual_time: bool) -> int:
    """Wall clock (ms) at which a record came; 0 if a replay does not say it."""
    if not virtual_time:
        return int(record.timestamp)
    for name, content in record.headers:
        if name == SENT_HEADER and content and len(content) <= _MAX_SENT_DIGITS and content.isdigit():
            return int(content)
    return 0
