"""What a record on ads.campaigns may say, and the reason each bad one gets."""

import json
from typing import Any

import orjson
import pytest

from stream.ads.campaign import Campaign, FrequencyCap, parse_campaign
from stream.errors import RejectionError
from stream.events import Reason

DAY_MS = 86_400_000
START_MS = 1_500_000_000_000


def document(**changes: Any) -> dict[str, Any]:
    return {
        "cid": "13",
        "name": "Type A 13",
        "seat": "retailer",
        "adomain": ["shop.example"],
        "cat": ["IAB8"],
        "starts_at_ms": START_MS,
        "ends_at_ms": START_MS + 30 * DAY_MS,
        "status": "active",
        "bid_cpm": 4.5,
        "frequency_cap": {"impressions": 2, "span_ms": 7 * DAY_MS},
        "creatives": [{"crid": "c1", "title": "Cheese", "categories": ["CHEESE", "DAIRY"], "products": 12}],
    } | changes


def creative(**changes: Any) -> dict[str, Any]:
    return {"crid": "c1", "title": "Cheese", "categories": ["CHEESE"], "products": 1} | changes


def parse(**changes: Any) -> Campaign | None:
    return parse_campaign(b"13", orjson.dumps(document(**changes)))


def reason_of(key: bytes | None, value: bytes | None) -> str:
    with pytest.raises(RejectionError) as caught:
        parse_campaign(key, value)
    return caught.value.reason


def test_a_full_campaign_is_read_as_it_was_written() -> None:
    campaign = parse()

    assert campaign is not None
    assert campaign.cid == "13"
    assert campaign.bid_cpm == 4.5
    assert campaign.frequency_cap == FrequencyCap(impressions=2, span_ms=7 * DAY_MS)
    assert campaign.creatives[0].categories == ["CHEESE", "DAIRY"]
    assert campaign.creatives[0].products == 12


def test_a_campaign_without_the_optional_fields_is_read() -> None:
    value = document()
    for name in ("adomain", "cat", "frequency_cap"):
        del value[name]
    value["creatives"] = [{"crid": "c1", "title": "Cheese"}]

    campaign = parse_campaign(b"13", orjson.dumps(value))

    assert campaign is not None
    assert campaign.frequency_cap is None
    assert campaign.creatives[0].products == 1


def test_a_null_value_removes_the_campaign() -> None:
    assert parse_campaign(b"13", None) is None


def test_a_whole_number_is_a_bid() -> None:
    campaign = parse(bid_cpm=5)

    assert campaign is not None
    assert campaign.bid_cpm == 5.0


def test_an_unknown_field_is_ignored() -> None:
    assert parse(pacing="even") is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bid_cpm": 0.0}, Reason.RANGE),
        ({"bid_cpm": -1.0}, Reason.RANGE),
        ({"bid_cpm": "4.5"}, Reason.TYPE),
        ({"bid_cpm": True}, Reason.TYPE),
        ({"bid_cpm": None}, Reason.TYPE),
        ({"status": "ACTIVE"}, Reason.RANGE),
        ({"status": 1}, Reason.RANGE),
        ({"starts_at_ms": START_MS // 1000}, Reason.TS_UNIT),
        ({"ends_at_ms": START_MS * 1000}, Reason.TS_UNIT),
        ({"starts_at_ms": "2017-01-01"}, Reason.TYPE),
        ({"starts_at_ms": 1.5e12}, Reason.TYPE),
        ({"ends_at_ms": START_MS}, Reason.RANGE),
        ({"ends_at_ms": START_MS - 1}, Reason.RANGE),
        ({"cid": ""}, Reason.RANGE),
        ({"cid": "14"}, Reason.KEY_MISMATCH),
        ({"name": "n" * 513}, Reason.FIELD_LONG),
        ({"adomain": "shop.example"}, Reason.TYPE),
        ({"cat": ["IAB8"] * 51}, Reason.TOO_WIDE),
        ({"creatives": []}, Reason.RANGE),
        ({"creatives": None}, Reason.TYPE),
        ({"creatives": [creative(crid=str(number)) for number in range(501)]}, Reason.TOO_WIDE),
        ({"creatives": [creative(), creative(title="Other")]}, Reason.ID_CONFLICT),
        ({"creatives": [creative(products=-1)]}, Reason.RANGE),
        ({"creatives": [creative(products=10**30)]}, Reason.NUMBER),
        ({"creatives": [{"crid": "c1"}]}, Reason.MISSING),
        ({"frequency_cap": {"impressions": 0, "span_ms": DAY_MS}}, Reason.RANGE),
        ({"frequency_cap": {"impressions": 257, "span_ms": DAY_MS}}, Reason.RANGE),
        ({"frequency_cap": {"impressions": 1, "span_ms": 31 * DAY_MS}}, Reason.RANGE),
        ({"frequency_cap": {"impressions": 1}}, Reason.MISSING),
    ],
)
def test_a_bad_field_gets_its_reason(changes: dict[str, Any], reason: Reason) -> None:
    value = json.dumps(document(**changes)).encode()  # orjson writes no integer beyond 64 bits

    assert reason_of(b"13", value) == reason


@pytest.mark.parametrize(
    "field", ["cid", "name", "seat", "starts_at_ms", "ends_at_ms", "status", "bid_cpm", "creatives"]
)
def test_a_missing_field_is_named(field: str) -> None:
    value = document()
    del value[field]

    with pytest.raises(RejectionError, match=f"^missing: {field}: "):
        parse_campaign(b"13", orjson.dumps(value))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, b"{}", Reason.MISSING),
        (b"", None, Reason.MISSING),
        (None, None, Reason.MISSING),
        (b"\xff", None, Reason.UTF8),
        (b"13", b"", Reason.EMPTY),
        (b"13", b"[]", Reason.ROOT),
        (b"13", b"{", Reason.JSON),
        (b"13", b'{"bid_cpm": NaN}', Reason.NONFINITE),
        (b"13", b"x" * 65_537, Reason.TOO_LARGE),
    ],
)
def test_a_record_that_is_no_campaign_gets_its_reason(
    key: bytes | None, value: bytes | None, reason: Reason
) -> None:
    assert reason_of(key, value) == reason


def test_a_rejection_says_what_is_wrong_and_what_to_do() -> None:
    with pytest.raises(RejectionError, match="the key is '12', cid is '13'; key each campaign by its cid"):
        parse_campaign(b"12", orjson.dumps(document()))
    with pytest.raises(
        RejectionError, match="crid 'c1' stands twice in campaign '13'; name each creative once"
    ):
        parse(creatives=[creative(), creative()])
    with pytest.raises(RejectionError, match="starts_at_ms is 1500000000; send UTC epoch milliseconds"):
        parse(starts_at_ms=START_MS // 1000)
    with pytest.raises(RejectionError, match="not after starts_at_ms 1500000000000; a campaign runs from"):
        parse(ends_at_ms=START_MS)
