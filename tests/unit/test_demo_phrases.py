"""Interest updates and ad decisions in a few words."""

from typing import Any

import pytest

from stream.demo.phrases import ago, decision_phrase, update_phrase

HOUR_MS = 3_600_000
NOW_MS = 1_509_321_600_000


def interest(name: str, score: float, delta: float | None) -> dict[str, Any]:
    return {"interest_id": name.replace(" ", "-"), "name": name, "score": score, "delta": delta}


def update(interests: list[dict[str, Any]], moved_by: list[dict[str, Any]]) -> dict[str, Any]:
    return {"user_id": "42", "event_time_ms": NOW_MS, "interests": interests, "moved_by": moved_by}


def candidate(cid: str, reason: str, outcome: str = "lost") -> dict[str, Any]:
    return {"cid": cid, "reason": reason, "outcome": outcome, "price": 6.61, "predicted_response": 0.0312}


def test_an_update_names_the_highest_interest_then_those_that_moved_most() -> None:
    interests = [
        interest("milk", 0.91, 0.001),
        interest("bread", 0.8, 0.004),
        interest("tea", 0.5, -0.1),
        interest("eggs", 0.3, 0.05),
    ]

    assert update_phrase(update(interests, [])).interests == "milk 91%, tea 50% (-10), eggs 30% (+5)"


def test_a_first_update_has_no_changes() -> None:
    phrase = update_phrase(update([interest("milk", 0.5, None)], []))

    assert phrase.interests == "milk 50%"


def test_what_moved_an_update_is_named_with_its_interest_and_its_age() -> None:
    mover = {"event_type": "add_to_cart", "occurred_at_ms": NOW_MS - 5 * HOUR_MS, "interest_id": "milk"}

    phrase = update_phrase(update([interest("milk", 0.5, None)], [mover]))

    assert phrase == ("42", "milk 50%", "add_to_cart 5 h ago (milk)")


def test_an_update_that_no_event_moved_came_of_time() -> None:
    assert update_phrase(update([], [])).moved_by == "time alone"


def test_a_decision_names_the_ad_and_why_the_others_lost() -> None:
    decision = {
        "user_id": "42",
        "bid": {"cid": "18", "crid": "c1"},
        "candidates": [
            candidate("18", "best_value", "won"),
            candidate("17", "outranked"),
            candidate("16", "outranked"),
            candidate("15", "frequency_cap"),
            candidate("1", "ended"),
            candidate("27", "not_started"),
        ],
    }

    phrase = decision_phrase(decision, {("18", "c1"): "coupon: cheese"})

    assert phrase.ad == "campaign 18, coupon: cheese"
    assert (
        phrase.reason == "best_value: $6.61 CPM at 3.1%; others: 2 outranked, 1 frequency_cap, 2 not running"
    )


def test_a_decision_without_an_ad_says_what_stood_against_it() -> None:
    decision = {"user_id": "42", "bid": None, "candidates": [candidate("18", "frequency_cap")]}

    assert decision_phrase(decision, {}) == ("42", "no ad", "1 frequency_cap")


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (59_999, "just now"),
        (60_000, "1 min ago"),
        (HOUR_MS, "1 h ago"),
        (23 * HOUR_MS + 1, "23 h ago"),
        (49 * HOUR_MS, "2 d ago"),
    ],
)
def test_a_duration_is_told_in_its_largest_whole_unit(duration_ms: int, text: str) -> None:
    assert ago(duration_ms) == text
