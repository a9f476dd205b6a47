"""A record batch with a header name that is not UTF-8, which no Python client would write."""

from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

_STAND_IN = "AAAA"
_NOT_UTF8 = b"\xff\xfe\xfd\xfc"
#: Of batch format 2: the checksum's place, and where what it covers begins.
_CRC_AT, _COVERED_FROM = 17, 21


def hostile_batch(*records: tuple[int, bytes, bytes, bool], base_offset: int = 0) -> bytes:
    """Records (timestamp, key, value, whether with the bad name) as bytes of one batch."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1_000_000)  # noqa: FBT003 - positional only
    for offset, (timestamp, key, value, hostile) in enumerate(records):
        builder.append(offset, timestamp, key, value, [(_STAND_IN, b"x")] if hostile else [])
    return base_offset.to_bytes(8, "big") + spoilt(builder.build())[8:]


def spoilt(batch: Any) -> bytes:
    """A batch whose stand-in names are made bad, with the checksum that fits."""
    raw = bytearray(bytes(batch).replace(_STAND_IN.encode(), _NOT_UTF8))
    raw[_CRC_AT:_COVERED_FROM] = calc_crc32c(bytes(raw[_COVERED_FROM:])).to_bytes(4, "big")
    return bytes(raw)
