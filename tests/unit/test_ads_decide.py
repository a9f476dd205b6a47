"""The decision: why each campaign wins or loses, what it reserves, and what it looks like as JSON."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stream.ads.campaign import FrequencyCap
from stream.ads.decide import AdPolicy, AdRequest
from stream.ads.decision import NONBID_CODES, AdDecision, CandidateReason, decision_hash, decision_id
from stream.ads.reservations import Reservation, Reservations
from stream.exposure import campaign_hash
from tests.unit.ads_builders import HOUR_MS, NOW_MS, campaign, cheese, decided, exposures, reasons, user, wine


def test_the_winner_has_the_highest_bid_times_predicted_response() -> None:
    decision = decided(
        campaign("a", bid_cpm=2.0),  # 2.0 x 0.5 = 1.0
        campaign("b", bid_cpm=6.0, creatives=[wine("b-wine")]),  # 6.0 x 0.25 = 1.5
        campaign("c", bid_cpm=2.5),  # 2.5 x 0.5 = 1.25
    ).decision

    assert reasons(decision) == {
        "a": ("lost", "outranked", 504),
        "b": ("won", "best_value", None),
        "c": ("lost", "outranked", 504),
    }
    assert [one.value for one in decision.candidates] == pytest.approx([1.0, 1.5, 1.25], rel=1e-5)
    assert [one.predicted_response for one in decision.candidates] == pytest.approx(
        [0.5, 0.25, 0.5], rel=1e-5
    )
    assert decision.bid is not None
    assert decision.bid.model_dump() == {
        "cid": "b",
        "crid": "b-wine",
        "seat": "shop",
        "adomain": ["shop.example"],
        "cat": ["IAB8-1"],
        "price": 6.0,
    }


def test_a_campaign_takes_part_with_the_creative_that_suits_the_user_best() -> None:
    decision = decided(campaign("a", creatives=[wine("1"), cheese("2"), wine("3")])).decision

    assert [one.crid for one in decision.candidates] == ["2"]


@pytest.mark.parametrize(
    ("changes", "reason", "code"),
    [
        ({"starts_at_ms": NOW_MS + 1}, "not_started", 501),
        ({"ends_at_ms": NOW_MS}, "ended", 502),
        ({"status": "paused"}, "paused", 503),
        ({"cat": ["IAB3", "IAB7-39"]}, "category_blocked", 303),
        ({"cat": ["IAB25"]}, "category_blocked", 303),
        ({"cid": "shown"}, "frequency_cap", 500),
        ({"cid": "reserved"}, "frequency_cap", 500),
        ({"bid_cpm": 0.49}, "below_floor", 301),
    ],
)
def test_each_campaign_that_can_not_take_part_says_why(
    changes: dict[str, Any], reason: str, code: int
) -> None:
    target = campaign(**{"cid": "x", **changes})
    of = user(
        exposures=exposures("shown", "shown", "shown"),
        reservations=Reservations(
            [Reservation(campaign_hash("reserved"), number, NOW_MS) for number in range(3)]
        ),
    )
    policy = AdPolicy(floor_cpm=0.5, cap_impressions=3, blocked_categories=frozenset({"IAB7"}))
    request = AdRequest("r", blocked_categories=frozenset({"IAB25"}))

    decision = decided(target, campaign("other"), of=of, policy=policy, request=request).decision

    assert reasons(decision)[target.cid] == ("lost", reason, code)
    assert reasons(decision)["other"] == ("won", "best_value", None)


def test_the_first_reason_in_order_is_the_one_that_is_given() -> None:
    worst = {"status": "paused", "bid_cpm": 0.1, "cat": ["IAB7"]}
    of = user(exposures=exposures("x", "x", "x"))
    policy = AdPolicy(blocked_categories=frozenset({"IAB7"}))

    def reason(**changes: Any) -> str:
        return reasons(decided(campaign("x", **worst | changes), of=of, policy=policy).decision)["x"][1]

    assert reason(starts_at_ms=NOW_MS + 1) == "not_started"
    assert reason(ends_at_ms=NOW_MS - 1) == "ended"
    assert reason() == "paused"
    assert reason(status="active") == "category_blocked"
    assert reason(status="active", cat=[]) == "frequency_cap"
    assert (
        reason(status="active", cat=[], frequency_cap=FrequencyCap(impressions=4, span_ms=HOUR_MS))
        == "below_floor"
    )


def test_a_campaign_runs_from_its_start_and_a_bid_at_the_floor_is_enough() -> None:
    decision = decided(
        campaign("a", starts_at_ms=NOW_MS, bid_cpm=0.5), policy=AdPolicy(floor_cpm=0.5)
    ).decision

    assert reasons(decision) == {"a": ("won", "best_value", None)}


def test_a_blocked_category_does_not_block_its_parent_or_a_longer_number() -> None:
    policy = AdPolicy(blocked_categories=frozenset({"IAB7-39", "IAB1"}))

    decision = decided(campaign("a", cat=["IAB7"]), campaign("b", cat=["IAB10-1"]), policy=policy).decision

    assert [one.reason for one in decision.candidates] == [
        CandidateReason.BEST_VALUE,
        CandidateReason.OUTRANKED,
    ]


def test_without_any_campaign_there_is_no_bid() -> None:
    result = decided()

    assert result.decision.bid is None
    assert result.decision.candidates == []
    assert result.decision.propensity == 1.0
    assert len(result.reservations) == 0


def test_without_scores_nothing_is_ranked_and_the_decision_says_so() -> None:
    decision = decided(campaign("a"), campaign("b", status="paused"), of=user(scores=None)).decision

    assert reasons(decision) == {"a": ("lost", "no_model", 505), "b": ("lost", "paused", 503)}
    assert decision.bid is None
    assert (decision.source, decision.model) == ("none", None)
    assert [(one.crid, one.predicted_response, one.value) for one in decision.candidates] == [
        (None, None, None)
    ] * 2


def test_ties_go_to_the_first_cid_and_the_first_crid() -> None:
    decision = decided(
        campaign("b", creatives=[cheese("z"), cheese("y")]),
        campaign("a", creatives=[cheese("n"), cheese("m")]),
    ).decision

    assert decision.bid is not None
    assert (decision.bid.cid, decision.bid.crid) == ("a", "m")
    assert [(one.cid, one.crid) for one in decision.candidates] == [("a", "m"), ("b", "y")]


def test_the_winner_is_reserved() -> None:
    result = decided(campaign("a"))

    mine = decision_hash(result.decision.decision_id)
    assert result.reservations.entries == (Reservation(campaign_hash("a"), mine, NOW_MS),)


def test_a_reservation_counts_as_an_impression_for_other_decisions() -> None:
    policy = AdPolicy(cap_impressions=1)
    first = decided(campaign("a"), policy=policy)

    second = decided(
        campaign("a"), of=user(reservations=first.reservations), policy=policy, request=AdRequest("another")
    )

    assert reasons(second.decision) == {"a": ("lost", "frequency_cap", 500)}


def test_a_decision_made_again_does_not_count_its_own_reservation() -> None:
    policy = AdPolicy(cap_impressions=1)
    first = decided(campaign("a"), policy=policy)

    again = decided(campaign("a"), of=user(reservations=first.reservations), policy=policy)

    assert again == first


def test_the_decision_is_json_with_the_names_of_openrtb() -> None:
    decision = decided(campaign("a"), policy=AdPolicy(floor_cpm=0.25, currency="EUR")).decision

    document = TypeAdapter(dict[str, Any]).validate_json(decision.to_bytes())

    candidate = document.pop("candidates")[0]
    assert document == {
        "decision_id": decision_id("u1", 7, "r"),
        "user_id": "u1",
        "revision": 7,
        "request_id": "r",
        "decided_at_ms": NOW_MS,
        "imp": {"id": "1", "bidfloor": 0.25, "bidfloorcur": "EUR"},
        "bid": {
            "cid": "a",
            "crid": "a-cheese",
            "seat": "shop",
            "adomain": ["shop.example"],
            "cat": ["IAB8-1"],
            "price": 2.0,
        },
        "propensity": 1.0,
        "source": "model",
        "model": {
            "name": "interest_head",
            "version": "1",
            "role": "champion",
            "champion": "1",
            "challenger": None,
        },
    }
    assert candidate["reason"] == "best_value"
    assert candidate["statuscode"] is None
    assert AdDecision.model_validate_json(decision.to_bytes()) == decision


def test_every_way_to_lose_has_its_own_code() -> None:
    losing = set(CandidateReason) - {CandidateReason.BEST_VALUE, CandidateReason.EXPLORED}

    assert set(NONBID_CODES) == losing
    assert len(set(NONBID_CODES.values())) == len(losing)


def test_the_id_of_a_decision_never_changes_between_releases() -> None:
    assert decision_id("u1", 7, "r") == "698b4020-8cf0-512f-a483-d0a2f076d485"


@given(
    st.tuples(
        st.text(st.characters(codec="utf-8")), st.integers(0, 2**32), st.text(st.characters(codec="utf-8"))
    ),
    st.tuples(
        st.text(st.characters(codec="utf-8")), st.integers(0, 2**32), st.text(st.characters(codec="utf-8"))
    ),
)
def test_ids_are_the_same_only_for_the_same_question(
    one: tuple[str, int, str], other: tuple[str, int, str]
) -> None:
    assert (decision_id(*one) == decision_id(*other)) == (one == other)
