"""What the bytes of a value are that is no event: packed, or too large for one reason that shows at its start."""

import re
from typing import Final

import orjson

from stream.errors import RejectionError
from stream.events import Reason

#: Fields beside each other in one object; the contract has 16 at most.
MAX_FIELDS: Final = 256
_PACKED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
)
_TEXT_FIELD: Final = re.compile(rb'[{,]\s*"([^"\\]{0,256})"\s*:\s*"')


def packed(value: bytes) -> RejectionError | None:
    """The rejection of a compressed value; what is in it is never looked at."""
    name = next((name for start, name in _PACKED if value.startswith(start)), None)
    if name is None:
        return None
    detail = f"the value is {name}; send plain JSON and let the producer compress (compression.type)"
    return RejectionError(Reason.MAGIC, detail)


def oversized(value: bytes, most_bytes: int) -> RejectionError:
    """The rejection of a value above the limit: by one long text, by countless fields, or just too large.

    Only as much as the limit is parsed, so that an attack costs no more than an event.
    """
    start = value[:most_bytes]
    cut = max(start.rfind(b',"'), 0)
    text = _TEXT_FIELD.match(start, cut)
    if text is not None and value.find(b'"', text.end(), text.end() + most_bytes + 1) < 0:
        detail = (
            f"the text of {text[1].decode(errors='replace')} alone has more than {most_bytes} bytes; cut it"
        )
        return RejectionError(Reason.FIELD_LONG, detail)
    try:
        fields = len(orjson.loads(start[:cut] + b"}"))
    except orjson.JSONDecodeError:
        fields = 0
    if fields > MAX_FIELDS:
        return too_many_fields(fields)
    detail = f"the value has {len(value)} bytes, at most {most_bytes} are read; split the event"
    return RejectionError(Reason.TOO_LARGE, detail)


def too_many_fields(fields: int) -> RejectionError:
    """The rejection of an object with so many fields."""
    detail = f"an object has {fields} fields, at most {MAX_FIELDS} are read; send what the contract names"
    return RejectionError(Reason.TOO_WIDE, detail)
