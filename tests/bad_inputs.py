"""Bad inputs, each with its one right outcome; sent through FOLD in a unit test and through brokers in another.

The numbers are those of the rows of the list of bad inputs that this project answers for. All are of the user ``u1``;
``UNCHANGING`` is about a user whose state holds the good click of ``tests.builders.event_value()``.
"""

from typing import Any, Final, NamedTuple

from tests.builders import NOW_MS, TEA, days, event_value


class BadInput(NamedTuple):
    """The value of a record, and what becomes of it."""

    row: int
    outcome: str
    reason: str
    value: bytes


def rejected(row: int, reason: str, value: bytes) -> BadInput:
    return BadInput(row, "rejected", reason, value)


def normalised(row: int, reason: str, **changes: Any) -> BadInput:
    """With an event id of its own, so that they can all be sent."""
    event_id = f"row-{row}-{'-'.join(changes)}-{len(str(changes))}"
    return BadInput(row, "normalised", reason, event_value(**{"event_id": event_id, **changes}))


def raw(field: str, token: str) -> bytes:
    return event_value(**{field: "TOKEN"}).replace(b'"TOKEN"', token.encode())


REJECTED: Final = [
    rejected(1, "empty", b""),
    rejected(4, "key_mismatch", event_value(user_id="somebody")),
    rejected(5, "json", b"hello"),
    rejected(5, "json", event_value()[:-5]),
    rejected(6, "json", event_value() + b"x"),
    rejected(6, "json", event_value() + event_value()),
    rejected(7, "json", b"\xef\xbb\xbf" + event_value()),
    rejected(7, "utf8", event_value().decode().encode("utf-16")),
    rejected(8, "utf8", event_value(search_term="X").replace(b"X", b"\xff")),
    rejected(8, "utf8", event_value(search_term="X").replace(b"X", b"\xc0\xaf")),
    rejected(9, "unicode", raw("search_term", r'"\ud800"')),
    rejected(11, "too_large", event_value(extra="x" * 65_536)),
    rejected(13, "depth", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    rejected(13, "depth", b"[" * 30_000 + b"]" * 30_000),
    rejected(15, "number", raw("dwell_ms", "9" * 5000)),
    rejected(16, "nonfinite", raw("dwell_ms", "NaN")),
    rejected(16, "nonfinite", raw("dwell_ms", "-Infinity")),
    rejected(16, "nonfinite", raw("dwell_ms", "1e999")),
    rejected(18, "root", b"[]"),
    rejected(18, "root", b'"text"'),
    rejected(18, "root", b"null"),
    rejected(19, "missing", event_value(event_type=...)),
    rejected(19, "missing", event_value(user_id=...)),
    rejected(22, "type", event_value(dwell_ms="1")),
    rejected(22, "type", event_value(dwell_ms=True)),
    rejected(23, "event_type", event_value(event_type="teleport")),
    rejected(26, "user_id", event_value(user_id="")),
    rejected(26, "user_id", event_value(user_id="   ")),
    rejected(44, "ts_naive", event_value(occurred_at_ms="2023-11-14T22:13:20")),
    rejected(45, "ts_unit", event_value(occurred_at_ms=NOW_MS // 1000)),
    rejected(45, "ts_unit", event_value(occurred_at_ms=NOW_MS * 1000)),
    rejected(45, "ts_unit", event_value(occurred_at_ms=NOW_MS * 1_000_000)),
    rejected(47, "ts_future", event_value(occurred_at_ms=NOW_MS + 5 * 60_000 + 1)),
    rejected(47, "ts_future", event_value(occurred_at_ms=253_402_300_799_000)),
    rejected(48, "ts_invalid", raw("occurred_at_ms", "NaN")),
    rejected(48, "ts_invalid", raw("occurred_at_ms", "1e999")),
    rejected(48, "ts_invalid", event_value(occurred_at_ms=-1)),
    rejected(48, "ts_invalid", event_value(occurred_at_ms=86_400_000)),
]

MENDED: Final = [
    BadInput(
        17, "accepted", "", event_value(event_id="row-17")[:-1] + b',"session_id":"a","session_id":"b"}'
    ),
    normalised(20, "unknown_field", colour="red"),
    normalised(20, "unknown_field", items=[{**TEA, "colour": "red"}]),
    normalised(21, "reserved_field", __faust={"ns": "x"}),
    normalised(21, "reserved_field", __class__="x"),
    normalised(21, "reserved_field", __proto__={}),
    normalised(21, "reserved_field", dumps=1),
    normalised(21, "reserved_field", items=[{**TEA, "__proto__": {}}]),
    normalised(43, "no_timestamp", occurred_at_ms=...),
    normalised(46, "future_clamped", occurred_at_ms=NOW_MS + 5 * 60_000),
    BadInput(49, "accepted", "", event_value(event_id="row-49", occurred_at_ms=NOW_MS - days(1))),
    normalised(56, "no_event_id", event_id=...),
]

UNCHANGING: Final = [
    BadInput(50, "late", "", event_value(event_id="row-50", occurred_at_ms=NOW_MS - days(1) - 1)),
    BadInput(54, "duplicate", "", event_value()),
    rejected(55, "id_conflict", event_value(session_id="another")),
]
