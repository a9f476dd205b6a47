"""Where a record stood, and by what its event is known again."""

import zlib

from stream.decode import Decoded
from stream.fold import Received, event_hash
from stream.record import InputRecord


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
