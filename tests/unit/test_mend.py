"""What a wrong event is mended by, and what can't be."""

from typing import Any

import orjson
import pytest

from stream.decode import decode_event
from stream.errors import RejectionError
from stream.events import MAX_DWELL_MS, Change, Reason
from stream.raw_value import oversized, packed
from tests.builders import NOW_MS, TEA, decoded, event_value


@pytest.mark.parametrize(
    ("changes", "change", "field", "mended"),
    [
        ({"event_type": "View_Item"}, Change.LOWER_CASED, "event_type", "view_item"),
        ({"currency": "eur"}, Change.UPPER_CASED, "currency", "EUR"),
        ({"currency": ""}, Change.NONE, "currency", ""),
        ({"search_term": ""}, Change.NO_TEXT, "search_term", None),
        ({"search_term": "\u00e9" * 513}, Change.TRUNCATED, "search_term", "\u00e9" * 512),
        ({"dwell_ms": 12.0}, Change.WHOLE_NUMBER, "dwell_ms", 12),
        ({"dwell_ms": -1}, Change.CLAMPED, "dwell_ms", 0),
        ({"dwell_ms": MAX_DWELL_MS + 1}, Change.CLAMPED, "dwell_ms", MAX_DWELL_MS),
        ({"dwell_ms": MAX_DWELL_MS}, Change.NONE, "dwell_ms", MAX_DWELL_MS),
        ({"event_type": "CLICK", "search_term": ""}, Change.LOWER_CASED, "search_term", None),
        ({"event_type": "CLICK", "colour": "red"}, Change.UNKNOWN_FIELD, "event_type", "click"),
    ],
)
def test_what_has_one_reading_is_mended(
    changes: dict[str, Any], change: Change, field: str, mended: object
) -> None:
    event = decoded(**changes)

    assert (event.change, getattr(event.event, field)) == (change, mended)


def test_an_item_is_mended_where_it_stands() -> None:
    event = decoded(items=[TEA, {**TEA, "item_name": "", "quantity": 2.0}])

    assert event.change is Change.NO_TEXT
    assert (event.event.items[1].item_name, event.event.items[1].quantity) == (None, 2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_type": "CLICK", "session_id": 7}, Reason.TYPE),
        ({"event_type": "CLICK", "items": [{**TEA, "quantity": 1.5}]}, Reason.RANGE),
        ({"items": [{**TEA, "quantity": 1_000_001.0}]}, Reason.RANGE),
        ({"dwell_ms": 1e19}, Reason.NUMBER),
        ({"event_type": "TELEPORT"}, Reason.EVENT_TYPE),
        ({"session_id": ""}, Reason.RANGE),
    ],
)
def test_an_event_with_anything_else_wrong_is_rejected(changes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(RejectionError) as caught:
        decoded(**changes)

    assert caught.value.reason is reason


def test_a_currency_that_is_none_is_told_the_cure() -> None:
    with pytest.raises(RejectionError) as caught:
        decoded(currency="XYZ")

    assert caught.value.detail == "currency is 'XYZ'; send the code of ISO 4217, as EUR, or leave it out"


@pytest.mark.parametrize("text", ["tea\tand\ncake", "Men\u0092s shoes", 'C:\\\\bin "x"'])
def test_spaces_and_misread_apostrophes_in_a_text_are_no_controls(text: str) -> None:
    assert decoded(search_term=text).event.search_term == text


def test_a_control_character_in_a_field_that_is_dropped_harms_nobody() -> None:
    assert decoded(colour="\x00").change is Change.UNKNOWN_FIELD


@pytest.mark.parametrize("part", [{"ad": {"cid": "c\n1"}}, {"items": [{**TEA, "item_id": "p\x001"}]}])
def test_a_control_character_is_found_in_every_part(part: dict[str, Any]) -> None:
    with pytest.raises(RejectionError) as caught:
        decode_event(event_value(**part), NOW_MS)

    assert caught.value.reason is Reason.CONTROL
    assert caught.value.detail.endswith("; send it without")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (orjson.dumps({"a": "x" * 200}), Reason.FIELD_LONG),
        (orjson.dumps({"b": 1, "a": "x" * 200}), Reason.FIELD_LONG),
        (orjson.dumps({"b": 1, "a": "x" * 90, "c": "y" * 90}), Reason.TOO_LARGE),
        (b"[" + b"1," * 100 + b"1]", Reason.TOO_LARGE),
    ],
)
def test_a_value_above_the_limit_says_what_made_it_so(value: bytes, reason: Reason) -> None:
    assert oversized(value, 100).reason is reason


def test_a_packed_value_is_told_where_to_pack() -> None:
    error = packed(b"\x1f\x8b\x08")

    assert error is not None
    assert (
        error.detail == "the value is gzip; send plain JSON and let the producer compress (compression.type)"
    )
    assert packed(b"{}") is None
