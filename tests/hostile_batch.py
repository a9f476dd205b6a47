"""A record batch with a header name that is not UTF-8, which no Python client would write."""

from typing import Any

from aiokafka.record.util import calc_crc32c

#: Header name to build a batch with.
STAND_IN = "AAAA"
_NOT_UTF8 = b"\xff\xfe\xfd\xfc"
#: What such a name is read as.
SHOWN = r"\xff\xfe\xfd\xfc"
#: Of batch format 2: the checksum's place, and where what it covers begins.
_CRC_AT, _COVERED_FROM = 17, 21


def spoilt(batch: Any) -> bytes:
    """A batch whose stand-in names are made bad, with the checksum that fits."""
    assert STAND_IN.encode() in bytes(batch)
    raw = bytearray(bytes(batch).replace(STAND_IN.encode(), _NOT_UTF8))
    raw[_CRC_AT:_COVERED_FROM] = calc_crc32c(bytes(raw[_COVERED_FROM:])).to_bytes(4, "big")
    return bytes(raw)
