"""Raw bytes to event: each bad input has one reason, what can be mended is mended and said."""

import gzip
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.decode import (
    MAX_EVENT_MS,
    MAX_FUTURE_MS,
    MAX_VALUE_BYTES,
    MIN_EVENT_MS,
    Decoded,
    check_record_time,
    decode_control,
    decode_erasure_key,
    decode_event,
    parse_object,
)
from stream.errors import RejectionError
from stream.events import EVENT_TYPES, MAX_USER_ID_CHARS, Change, Reason
from tests.builders import NOW_MS, TEA, USER, decoded, event_fields, event_value

MINUTE_MS = 60_000


def rejection(value: bytes | None, record_ms: int = NOW_MS) -> RejectionError:
    with pytest.raises(RejectionError) as caught:
        decode_event(value, record_ms)
    return caught.value


def event_or_rejection(value: bytes, record_ms: int) -> Decoded | RejectionError:
    try:
        return decode_event(value, record_ms)
    except RejectionError as error:
        return error


def with_raw(field: str, token: str) -> bytes:
    """The value with a token that no JSON writer would write."""
    return event_value(**{field: "TOKEN"}).replace(b'"TOKEN"', token.encode())


def test_a_good_event_is_taken_as_it_is() -> None:
    event, occurred_at_ms, change = decoded(source="shop", session_id="s1", currency="EUR")

    assert (event.user_id, event.event_type, event.items[0].item_name) == (USER, "click", "Green Tea")
    assert (occurred_at_ms, change) == (NOW_MS - 1000, Change.NONE)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_type_is_read(event_type: str) -> None:
    assert decoded(event_type=event_type).event.event_type == event_type


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"", Reason.EMPTY, id="no bytes"),
        pytest.param(None, Reason.EMPTY, id="null"),
        pytest.param(b"   ", Reason.JSON, id="only spaces"),
        pytest.param(b"hello", Reason.JSON, id="not JSON"),
        pytest.param(event_value()[:-5], Reason.JSON, id="truncated"),
        pytest.param(event_value() + b"x", Reason.JSON, id="trailing bytes"),
        pytest.param(event_value() + event_value(), Reason.JSON, id="two documents"),
        pytest.param(b"\xef\xbb\xbf" + event_value(), Reason.JSON, id="UTF-8 byte order mark"),
        pytest.param(event_value().decode().encode("utf-16"), Reason.UTF8, id="UTF-16"),
        pytest.param(event_value().decode().encode("utf-16-le"), Reason.JSON, id="UTF-16 without mark"),
        pytest.param(event_value(user_id="X").replace(b"X", b"\xff"), Reason.UTF8, id="invalid UTF-8"),
        pytest.param(event_value(user_id="X").replace(b"X", b"\xc0\xaf"), Reason.UTF8, id="overlong UTF-8"),
        pytest.param(event_value(user_id="X").replace(b"X", b"\xed\xa0\x80"), Reason.UTF8, id="CESU"),
        pytest.param(with_raw("user_id", r'"\ud800"'), Reason.UNICODE, id="high surrogate alone"),
        pytest.param(with_raw("user_id", r'"\udc00"'), Reason.UNICODE, id="low surrogate alone"),
        pytest.param(with_raw("user_id", r'"\ud800\u0041"'), Reason.UNICODE, id="pair cut in two"),
        pytest.param(b"[]", Reason.ROOT, id="array"),
        pytest.param(b'"text"', Reason.ROOT, id="string"),
        pytest.param(b"null", Reason.ROOT, id="JSON null"),
        pytest.param(b"12", Reason.ROOT, id="number"),
        pytest.param(event_value(extra="x" * MAX_VALUE_BYTES), Reason.TOO_LARGE, id="64 KiB and more"),
        pytest.param(b'{"a":' * 12_000 + b"1" + b"}" * 12_000, Reason.DEPTH, id="12k deep"),
        pytest.param(b"[" * 30_000 + b"]" * 30_000, Reason.DEPTH, id="30k deep"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, Reason.DEPTH, id="100k deep"),
        pytest.param(gzip.compress(event_value()), Reason.MAGIC, id="gzip"),
    ],
)
def test_what_is_no_json_object_is_rejected(value: bytes | None, reason: Reason) -> None:
    assert rejection(value).reason is reason


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("9" * 5000, Reason.NUMBER),
        ("-" + "9" * 5000, Reason.NUMBER),
        ("9" * 5000 + ".5", Reason.NONFINITE),
        ("1e999", Reason.NONFINITE),
        ("-1e999", Reason.NONFINITE),
        ("NaN", Reason.NONFINITE),
        ("-NaN", Reason.NONFINITE),
        ("Infinity", Reason.NONFINITE),
        ("-Infinity", Reason.NONFINITE),
        ("inf", Reason.NONFINITE),
        ("nan", Reason.NONFINITE),
        ("nul", Reason.JSON),
        ("infant", Reason.JSON),
        ("01", Reason.JSON),
    ],
)
def test_numbers_that_json_or_a_float_cannot_hold_are_rejected(token: str, reason: Reason) -> None:
    assert rejection(with_raw("dwell_ms", token)).reason is reason
    assert rejection(with_raw("search_term", token)).reason is reason


def test_the_whole_value_being_nan_is_rejected_as_such() -> None:
    assert rejection(b"NaN").reason is Reason.NONFINITE


def test_a_text_that_speaks_of_nan_does_not_hide_what_is_wrong_elsewhere() -> None:
    value = event_value(search_term="é: NaN, 99999999999999999999999")

    assert rejection(value[:-1]).reason is Reason.JSON
    assert rejection(value[:-1] + b',"dwell_ms":1e999}').reason is Reason.NONFINITE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"user_id": ...}, Reason.MISSING, id="no user id"),
        pytest.param({"event_type": ...}, Reason.MISSING, id="no event type"),
        pytest.param({"items": [{"item_name": "x"}]}, Reason.MISSING, id="item without id"),
        pytest.param({"ad": {}}, Reason.MISSING, id="ad without campaign"),
        pytest.param({"user_id": 7}, Reason.TYPE, id="number as user id"),
        pytest.param({"user_id": None}, Reason.TYPE, id="null as user id"),
        pytest.param({"dwell_ms": "1"}, Reason.TYPE, id="text as number"),
        pytest.param({"dwell_ms": True}, Reason.TYPE, id="true as number"),
        pytest.param({"dwell_ms": 1.5}, Reason.TYPE, id="fraction as integer"),
        pytest.param({"generated": "yes"}, Reason.TYPE, id="text as boolean"),
        pytest.param({"items": {}}, Reason.TYPE, id="object as list"),
        pytest.param({"items": None}, Reason.TYPE, id="null as list"),
        pytest.param({"items": [3]}, Reason.TYPE, id="number as item"),
        pytest.param({"items": [{**TEA, "price": "9.9"}]}, Reason.TYPE, id="text as price"),
        pytest.param({"items": [{**TEA, "price": True}]}, Reason.TYPE, id="true as price"),
        pytest.param({"ad": []}, Reason.TYPE, id="list as ad"),
        pytest.param({"occurred_at_ms": True}, Reason.TYPE, id="true as time"),
        pytest.param({"occurred_at_ms": "1700000000000"}, Reason.TYPE, id="text as time"),
        pytest.param({"event_type": "teleport"}, Reason.EVENT_TYPE, id="unknown event type"),
        pytest.param({"event_type": 3}, Reason.EVENT_TYPE, id="number as event type"),
        pytest.param({"user_id": ""}, Reason.USER_ID, id="empty user id"),
        pytest.param({"user_id": " \t\u00a0"}, Reason.USER_ID, id="user id of spaces"),
        pytest.param({"user_id": "u" * 10_000}, Reason.FIELD_LONG, id="user id of 10 kB"),
        pytest.param({"event_id": ""}, Reason.RANGE, id="empty event id"),
        pytest.param({"items": [TEA] * 201}, Reason.TOO_WIDE, id="201 items"),
        pytest.param({"schema_version": "2.0"}, Reason.VERSION, id="newer major version"),
        pytest.param({"schema_version": "10.0"}, Reason.VERSION, id="major version that starts with ours"),
        pytest.param({"dwell_ms": 10**25}, Reason.NUMBER, id="integer beyond 64 bits"),
    ],
)
def test_a_field_that_does_not_fit_is_rejected(changes: dict[str, Any], reason: Reason) -> None:
    value = (
        event_value(**changes) if changes != {"dwell_ms": 10**25} else with_raw("dwell_ms", "1" + "0" * 25)
    )

    assert rejection(value).reason is reason


def test_a_rejection_names_the_field() -> None:
    error = rejection(event_value(items=[TEA, {**TEA, "quantity": "2"}]))

    assert str(error) == "type: items.1.quantity: Input should be a valid integer"


def test_a_newer_minor_version_is_accepted() -> None:
    assert decoded(schema_version="1.9").change is Change.NONE


def test_of_repeated_keys_the_last_wins() -> None:
    value = event_value()[:-1] + b',"session_id":"a","session_id":"b"}'

    assert decode_event(value, NOW_MS).event.session_id == "b"


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        pytest.param({"colour": "red"}, Change.UNKNOWN_FIELD, id="at the top"),
        pytest.param({"items": [{**TEA, "colour": "red"}]}, Change.UNKNOWN_FIELD, id="in an item"),
        pytest.param({"ad": {"cid": "c", "colour": "red"}}, Change.UNKNOWN_FIELD, id="in the ad"),
        pytest.param({"__faust": {"ns": "x"}}, Change.RESERVED_FIELD, id="__faust"),
        pytest.param({"__class__": "x"}, Change.RESERVED_FIELD, id="__class__"),
        pytest.param({"__proto__": {}}, Change.RESERVED_FIELD, id="__proto__"),
        pytest.param({"dumps": "x"}, Change.RESERVED_FIELD, id="dumps"),
        pytest.param({"colour": "red", "__proto__": {}}, Change.RESERVED_FIELD, id="beside another"),
        pytest.param({"items": [TEA, {**TEA, "__proto__": {}}]}, Change.RESERVED_FIELD, id="in an item "),
        pytest.param({"ad": {"cid": "c", "dumps": 1}}, Change.RESERVED_FIELD, id="in the ad "),
        pytest.param({"event_id": ...}, Change.NO_EVENT_ID, id="no event id"),
        pytest.param({"event_id": None}, Change.NO_EVENT_ID, id="null event id"),
        pytest.param({"occurred_at_ms": ...}, Change.NO_TIMESTAMP, id="no time"),
        pytest.param({"occurred_at_ms": None}, Change.NO_TIMESTAMP, id="null time"),
        pytest.param({"occurred_at_ms": NOW_MS + 1}, Change.FUTURE_CLAMPED, id="a little ahead"),
    ],
)
def test_what_was_changed_is_said(changes: dict[str, Any], change: Change) -> None:
    assert decoded(**changes).change is change


def test_a_missing_time_is_the_records() -> None:
    assert decoded(occurred_at_ms=...).occurred_at_ms == NOW_MS


@pytest.mark.parametrize("ahead_ms", [1, MAX_FUTURE_MS])
def test_a_time_a_little_ahead_is_clamped_to_the_records(ahead_ms: int) -> None:
    assert decoded(occurred_at_ms=NOW_MS + ahead_ms).occurred_at_ms == NOW_MS


@pytest.mark.parametrize("occurred_at_ms", [MIN_EVENT_MS, NOW_MS - 1, NOW_MS])
def test_a_time_up_to_the_records_is_kept(occurred_at_ms: int) -> None:
    event = decoded(occurred_at_ms=occurred_at_ms)

    assert (event.occurred_at_ms, event.change) == (occurred_at_ms, Change.NONE)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (str(NOW_MS + MAX_FUTURE_MS + 1), Reason.TS_FUTURE),
        ("253402300799000", Reason.TS_FUTURE),  # year 9999
        (str(NOW_MS // 1000), Reason.TS_UNIT),  # seconds
        (str(NOW_MS * 1000), Reason.TS_UNIT),  # microseconds
        (str(NOW_MS * 1_000_000), Reason.TS_UNIT),  # nanoseconds
        (str(2**64 - 1), Reason.TS_UNIT),
        ('"2023-11-14T22:13:20"', Reason.TS_NAIVE),
        ('"2023-11-14 22:13:20.123"', Reason.TS_NAIVE),
        ('"2023-11-14T22:13:20Z"', Reason.TS_PARSE),
        ("0", Reason.TS_INVALID),
        ("-1", Reason.TS_INVALID),
        ("86400000", Reason.TS_INVALID),  # 1970
        (str(MIN_EVENT_MS - 1), Reason.TS_INVALID),
        ("1700000000000.5", Reason.TS_INVALID),
        ("NaN", Reason.TS_INVALID),
        ("Infinity", Reason.TS_INVALID),
        (" -Infinity", Reason.TS_INVALID),
        ("1e999", Reason.TS_INVALID),
        ('"NaN"', Reason.TS_INVALID),
        ('"-inf"', Reason.TS_INVALID),
        ("9" * 5000, Reason.NUMBER),
    ],
)
def test_a_time_that_is_none_is_rejected(token: str, reason: Reason) -> None:
    assert rejection(with_raw("occurred_at_ms", token)).reason is reason


def test_a_time_in_the_wrong_unit_is_told_the_unit() -> None:
    assert rejection(event_value(occurred_at_ms=1_700_000_000)).detail == (
        "occurred_at_ms is 1700000000; send UTC epoch milliseconds"
    )


@pytest.mark.parametrize("record_ms", [-1, 0, MIN_EVENT_MS - 1, MAX_EVENT_MS + 1, 2**62])
def test_a_record_whose_own_timestamp_is_no_time_is_rejected(record_ms: int) -> None:
    assert rejection(event_value(occurred_at_ms=...), record_ms).reason is Reason.TS_INVALID
    assert rejection(event_value(), record_ms).reason is Reason.TS_INVALID


@pytest.mark.parametrize("record_ms", [MIN_EVENT_MS, MAX_EVENT_MS])
def test_every_record_timestamp_that_the_state_can_hold_is_a_time(record_ms: int) -> None:
    check_record_time(record_ms)

    assert decoded(record_ms, occurred_at_ms=...).occurred_at_ms == record_ms


def test_a_value_of_exactly_the_limit_is_read() -> None:
    value = event_value(extra="")
    padded = event_value(extra="x" * (MAX_VALUE_BYTES - len(value)))

    assert len(padded) == MAX_VALUE_BYTES
    assert decode_event(padded, NOW_MS).change is Change.UNKNOWN_FIELD


def test_an_erasure_is_read() -> None:
    assert decode_control(b'{"action":"erase","user_id":"u1"}').user_id == "u1"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"action":"promote","user_id":"u1"}', Reason.CONTROL_ACTION),
        (b'{"user_id":"u1"}', Reason.MISSING),
        (b'{"action":"erase"}', Reason.MISSING),
        (b'{"action":"erase","user_id":7}', Reason.TYPE),
        (b'{"action":"erase","user_id":""}', Reason.USER_ID),
        (b'{"action":"erase","user_id":"  "}', Reason.USER_ID),
        (b'["erase"]', Reason.ROOT),
        (b"", Reason.EMPTY),
    ],
)
def test_a_control_record_that_does_not_fit_is_rejected(value: bytes, reason: Reason) -> None:
    with pytest.raises(RejectionError) as caught:
        decode_control(value)

    assert caught.value.reason is reason


def test_a_tombstone_erases_the_user_of_its_key() -> None:
    longest = "é" * MAX_USER_ID_CHARS

    assert decode_erasure_key(longest.encode()) == longest


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, Reason.USER_ID),
        (b"", Reason.USER_ID),
        (b" \t", Reason.USER_ID),
        (b"\xff", Reason.UTF8),
        (b"u" * (MAX_USER_ID_CHARS + 1), Reason.FIELD_LONG),
    ],
)
def test_a_tombstone_whose_key_is_nobodys_id_is_rejected(key: bytes | None, reason: Reason) -> None:
    with pytest.raises(RejectionError) as caught:
        decode_erasure_key(key)

    assert caught.value.reason is reason


def test_an_object_is_given_as_a_dictionary() -> None:
    assert parse_object(b'{"a": [1, null]}') == {"a": [1, None]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    changes=st.dictionaries(st.sampled_from([*event_fields(), "ad", "dwell_ms", "__x"]), JSON, max_size=3),
    record_ms=st.integers(-(2**63), 2**63 - 1) | st.integers(NOW_MS - MINUTE_MS, NOW_MS + MINUTE_MS),
)
@settings(max_examples=300)
def test_any_json_gives_an_event_in_time_or_a_reason(changes: dict[str, Any], record_ms: int) -> None:
    outcome = event_or_rejection(orjson.dumps({**event_fields(), **changes}), record_ms)

    if isinstance(outcome, RejectionError):
        assert outcome.reason in set(Reason)
    else:
        assert MIN_EVENT_MS <= outcome.occurred_at_ms <= min(record_ms, MAX_EVENT_MS)


@given(value=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(max_examples=300)
def test_any_bytes_are_rejected_with_a_reason(value: bytes) -> None:
    assert rejection(value).reason in set(Reason)
