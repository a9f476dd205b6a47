"""Which model version scores whom, and how one rollout follows another."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import ConfigurationError, RejectionError
from stream.rollout import (
    Rollout,
    RolloutRecords,
    Stamp,
    goes_to_challenger,
    order_key,
    promoted,
    rolled_back_key,
    taken_back,
    taken_in,
    tried,
)

STAMP = Stamp("second", 2000)


def rollout(**changes: object) -> Rollout:
    fields: dict[str, object] = {"rollout_id": "first", "champion": "1", "changed_at_ms": 1000}
    return Rollout.model_validate(fields | changes)


def canary(share: float = 0.25) -> Rollout:
    return rollout(challenger="2", mode="canary", share=share)


def records(*taken: tuple[bytes, Rollout]) -> RolloutRecords:
    known = RolloutRecords()
    for key, value in taken:
        known = taken_in(known, "shop", key, value.to_bytes())
    return known


# -- records -----------------------------------------------------------------------------------------------------


def test_without_a_record_nothing_is_in_force() -> None:
    assert RolloutRecords().in_force is None


def test_the_last_order_is_in_force() -> None:
    known = records((order_key("shop"), rollout()), (order_key("shop"), canary()))

    assert known.in_force == canary()


def test_orders_of_other_apps_are_not_ours() -> None:
    assert records((order_key("other-shop"), canary())).in_force is None


def test_an_automatic_rollback_ends_the_order_that_it_names_whichever_is_read_first() -> None:
    order, back = canary(), taken_back(canary(), "latency", STAMP)
    written = ((order_key("shop"), order), (rolled_back_key("shop"), back))

    assert records(*written).in_force == records(*reversed(written)).in_force == back
    assert (back.champion, back.challenger, back.mode, back.share) == ("1", None, "none", 0.0)
    assert (back.based_on, back.reason) == ("first", "latency")


def test_an_automatic_rollback_does_not_touch_a_later_order() -> None:
    back = taken_back(canary(), "latency", STAMP)
    later = tried(back, "1", "3", None, Stamp("third", 3000))

    known = records(
        (order_key("shop"), canary()), (order_key("shop"), later), (rolled_back_key("shop"), back)
    )

    assert known.in_force == later


def test_a_tombstone_takes_an_order_away() -> None:
    known = records((order_key("shop"), canary()))

    assert taken_in(known, "shop", order_key("shop"), None).in_force is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"{}", "rollout_id: Field required"),
        (b"[]", "record: "),
        (orjson.dumps({"rollout_id": "a", "champion": "0", "changed_at_ms": 1}), "champion: "),
        (
            orjson.dumps({"rollout_id": "a", "champion": "1", "mode": "canary", "changed_at_ms": 1}),
            "mode canary with challenger None",
        ),
        (
            orjson.dumps(
                {"rollout_id": "a", "champion": "1", "challenger": "1", "mode": "shadow", "changed_at_ms": 1}
            ),
            "champion and challenger are both version 1",
        ),
    ],
)
def test_a_record_that_is_no_rollout_is_rejected(value: bytes, said: str) -> None:
    with pytest.raises(RejectionError, match=said):
        taken_in(RolloutRecords(), "shop", order_key("shop"), value)


def test_fields_of_later_releases_are_ignored() -> None:
    value = orjson.dumps({**canary().model_dump(), "colour": "blue"})

    assert taken_in(RolloutRecords(), "shop", order_key("shop"), value).in_force == canary()


# -- shares ------------------------------------------------------------------------------------------------------


def test_only_a_canary_scores_users() -> None:
    shadow = rollout(challenger="2", mode="shadow")

    assert not any(goes_to_challenger(order, b"user") for order in (None, rollout(), shadow))
    assert goes_to_challenger(canary(share=1.0), b"user")
    assert not goes_to_challenger(canary(share=0.0), b"user")


def test_a_quarter_of_the_users_is_about_a_quarter() -> None:
    drawn = sum(goes_to_challenger(canary(), f"user-{number}".encode()) for number in range(4000))

    assert 900 < drawn < 1100


@given(st.binary(min_size=1), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_larger_share_only_adds_users(user: bytes, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))

    assert goes_to_challenger(canary(larger), user) or not goes_to_challenger(canary(smaller), user)


def test_another_challenger_is_tried_on_other_users() -> None:
    other = rollout(challenger="3", mode="canary", share=0.25)
    users = [f"user-{number}".encode() for number in range(400)]

    assert [goes_to_challenger(other, user) for user in users] != [
        goes_to_challenger(canary(), user) for user in users
    ]


# -- steps -------------------------------------------------------------------------------------------------------


def test_the_first_trial_pins_the_champion_that_it_is_told() -> None:
    order = tried(None, "1", "2", 0.1, STAMP)

    assert (order.champion, order.challenger, order.mode, order.share) == ("1", "2", "canary", 0.1)
    assert (order.rollout_id, order.changed_at_ms, order.previous) == ("second", 2000, None)


def test_a_trial_without_a_share_is_in_the_shadow_and_keeps_champion_and_previous() -> None:
    order = tried(rollout(champion="2", previous="1"), "9", "3", None, STAMP)

    assert (order.champion, order.challenger, order.mode, order.previous) == ("2", "3", "shadow", "1")


def test_the_champion_can_not_be_tried_beside_itself() -> None:
    with pytest.raises(ConfigurationError, match=r"version 1 is the champion already.*name another version"):
        tried(rollout(), "1", "1", None, STAMP)


def test_a_promotion_ends_the_trial_and_remembers_the_champion_before() -> None:
    order = promoted(canary(), "2", None, STAMP)

    assert (order.champion, order.challenger, order.mode, order.previous) == ("2", None, "none", "1")


def test_a_first_promotion_goes_back_to_the_version_that_it_is_told() -> None:
    assert promoted(None, "2", "1", STAMP).previous == "1"


def test_promoting_the_champion_once_more_forgets_nothing() -> None:
    assert promoted(rollout(champion="2", previous="1"), "2", None, STAMP).previous == "1"


def test_a_rollback_of_a_promotion_is_the_champion_before_it() -> None:
    order = taken_back(promoted(canary(), "2", None, STAMP), "ordered", Stamp("third", 3000))

    assert (order.champion, order.previous) == ("1", None)


@pytest.mark.parametrize("now", [None, rollout()])
def test_with_nothing_to_go_back_to_the_cure_is_named(now: Rollout | None) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no champion before this one: name the version .* promote VERSION"
    ):
        taken_back(now, "ordered", STAMP)
