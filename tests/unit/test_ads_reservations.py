"""Promised impressions: how long they count, what settles them, and their encoding."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.ads.reservations import MAX_RESERVATIONS, Reservation, Reservations
from stream.errors import StateVersionError
from stream.exposure import Exposures

LIFE_MS = 100
CHEESE, WINE = 11, 22


def shown(*impressions: tuple[int, int]) -> Exposures:
    exposures = Exposures()
    for campaign, moment in impressions:
        exposures.show(campaign, moment)
    return exposures


def live(reservations: Reservations, exposures: Exposures, now_ms: int) -> dict[int, int]:
    return dict(reservations.settled(exposures, now_ms, LIFE_MS).live_by_campaign())


def test_a_reservation_counts_until_its_time_is_over() -> None:
    reservations = Reservations([Reservation(CHEESE, 1, 1000)])

    assert live(reservations, shown(), 1099) == {CHEESE: 1}
    assert live(reservations, shown(), 1100) == {}


def test_an_impression_of_its_campaign_settles_it() -> None:
    reservations = Reservations([Reservation(CHEESE, 1, 1000), Reservation(WINE, 2, 1000)])

    assert live(reservations, shown((CHEESE, 1005)), 1010) == {WINE: 1}


@pytest.mark.parametrize("shown_ms", [999, 1000, 1100])
def test_an_impression_outside_its_life_does_not_settle_it(shown_ms: int) -> None:
    reservations = Reservations([Reservation(CHEESE, 1, 1000)])

    assert live(reservations, shown((CHEESE, shown_ms)), 1050) == {CHEESE: 1}


def test_one_impression_settles_one_reservation_the_oldest() -> None:
    reservations = Reservations([Reservation(CHEESE, 1, 1000), Reservation(CHEESE, 2, 1003)])

    settled = reservations.settled(shown((CHEESE, 1005)), 1010, LIFE_MS)

    assert settled.entries == (Reservation(CHEESE, 1, 1000, 1005), Reservation(CHEESE, 2, 1003))


def test_an_impression_is_not_used_again_when_what_it_settled_is_gone() -> None:
    first = Reservations([Reservation(CHEESE, 1, 1000), Reservation(CHEESE, 2, 1003)])
    exposures = shown((CHEESE, 1005))

    later = first.settled(exposures, 1010, LIFE_MS).settled(exposures, 1101, LIFE_MS)

    assert dict(later.live_by_campaign()) == {CHEESE: 1}


def test_an_impression_goes_to_a_reservation_that_is_over_by_now_if_it_was_the_oldest_then() -> None:
    reservations = Reservations([Reservation(CHEESE, 1, 1000), Reservation(CHEESE, 2, 1060)])

    assert live(reservations, shown((CHEESE, 1070)), 1110) == {CHEESE: 1}


def test_a_decision_can_be_taken_out() -> None:
    reservations = Reservations([Reservation(CHEESE, 1, 1000), Reservation(CHEESE, 2, 1003)])

    assert reservations.without(1).entries == (Reservation(CHEESE, 2, 1003),)
    assert reservations.without(3) == reservations


def test_the_oldest_fall_out_beyond_the_bound() -> None:
    reservations = Reservations(Reservation(CHEESE, number, 1000) for number in range(MAX_RESERVATIONS + 5))

    assert len(reservations) == MAX_RESERVATIONS
    assert reservations.entries[0].decision == 5


def test_settling_leaves_room_for_one_more() -> None:
    full = Reservations(Reservation(CHEESE, number, 1000) for number in range(MAX_RESERVATIONS))

    settled = full.settled(shown(), 1001, LIFE_MS)

    assert len(settled) == MAX_RESERVATIONS - 1
    assert settled.entries[0].decision == 1
    assert len(settled.with_reservation(Reservation(WINE, 999, 1001))) == MAX_RESERVATIONS


def test_the_encoding_is_what_the_module_says() -> None:
    assert Reservations().to_bytes() == b""
    assert Reservations([Reservation(1, 2, 3, 4)]).to_bytes() == bytes.fromhex(
        "010100000000000000020000000000000003000000000000000400000000000000"
    )


def test_an_encoding_of_a_newer_release_is_refused() -> None:
    with pytest.raises(StateVersionError, match="encoding version 2, this release reads up to 1"):
        Reservations.from_bytes(b"\x02" + bytes(32))


def test_equal_reservations_are_equal_and_show_what_they_hold() -> None:
    one, other = Reservations([Reservation(1, 2, 3)]), Reservations([Reservation(1, 2, 3)])

    assert one == other
    assert hash(one) == hash(other)
    assert one != Reservations()
    assert repr(Reservations()) == "Reservations([])"


hashes = st.integers(0, 2**64 - 1)
moments = st.integers(0, 2**62)


@given(st.lists(st.builds(Reservation, hashes, hashes, moments, moments), max_size=MAX_RESERVATIONS))
def test_an_encoding_gives_the_same_again(entries: list[Reservation]) -> None:
    reservations = Reservations(entries)

    assert Reservations.from_bytes(reservations.to_bytes()) == reservations


class Act(NamedTuple):
    kind: str
    campaign: int
    wait_ms: int
    #: Whether a decision looks at the reservations after it.
    look: bool


def by_hand(acts: list[Act]) -> Counter[int]:
    """Goes through promises and impressions in time order: each impression takes the oldest open promise."""
    still_open: list[tuple[int, int]] = []
    now_ms = 1
    for act in acts:
        now_ms += act.wait_ms
        mine = [made for of, made in still_open if of == act.campaign and now_ms - made < LIFE_MS]
        if act.kind == "promise":
            still_open.append((act.campaign, now_ms))
        elif act.kind == "impression" and mine:
            still_open.remove((act.campaign, min(mine)))
    return Counter(of for of, made in still_open if now_ms - made < LIFE_MS)


def as_served(acts: list[Act]) -> tuple[Reservations, Exposures, int]:
    reservations, exposures, now_ms = Reservations(), Exposures(), 1
    for number, act in enumerate(acts):
        now_ms += act.wait_ms
        if act.kind == "promise":
            reservations = reservations.with_reservation(Reservation(act.campaign, number, now_ms))
        elif act.kind == "impression":
            exposures.show(act.campaign, now_ms)
        if act.look:
            reservations = reservations.settled(exposures, now_ms, LIFE_MS)
    return reservations, exposures, now_ms


acts = st.lists(
    st.builds(
        Act,
        st.sampled_from(["promise", "promise", "impression", "nothing"]),
        st.sampled_from([CHEESE, CHEESE, CHEESE, WINE]),
        st.integers(1, LIFE_MS * 2 // 3),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=40,
)


@settings(max_examples=500)
@given(acts)
def test_settling_now_and_then_counts_as_going_through_by_hand(history: list[Act]) -> None:
    reservations, exposures, now_ms = as_served(history)

    counted = reservations.settled(exposures, now_ms, LIFE_MS).live_by_campaign()

    assert counted == by_hand(history)


@given(acts)
def test_settling_twice_changes_nothing(history: list[Act]) -> None:
    reservations, exposures, now_ms = as_served(history)

    once = reservations.settled(exposures, now_ms, LIFE_MS)

    assert once.settled(exposures, now_ms, LIFE_MS) == once
