"""The long-term profile against the sum that its decayed weights stand for."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.events import EVENT_TYPES
from stream.profile import ACTION_WEIGHTS, HALF_LIVES_DAYS, MAX_CATEGORIES, Profile
from tests.builders import NOW_MS

DAY_SECONDS = 86_400
NOW = NOW_MS // 1000
WIDTH = len(HALF_LIVES_DAYS)


class Act(NamedTuple):
    category: int
    kind: str
    second: int


ACTS = st.builds(
    Act,
    category=st.integers(1, 3),
    kind=st.sampled_from(EVENT_TYPES),
    second=st.integers(NOW - 500 * DAY_SECONDS, NOW),
)


def profile_of(acts: Sequence[Act]) -> Profile:
    profile = Profile()
    for category, kind, second in acts:
        profile.add(category, EVENT_TYPES.index(kind), second * 1000 + 999)
    return profile


def weights(profile: Profile, category: int) -> list[float]:
    row = profile.row_of(category)
    assert row is not None
    return list(profile.weights[row * WIDTH : (row + 1) * WIDTH])


def purchase(category: int, second: int) -> Act:
    return Act(category, "purchase", second)


def test_a_category_never_met_has_no_row() -> None:
    assert (len(Profile()), Profile().row_of(7)) == (0, None)


def test_a_first_purchase_weighs_one_at_every_half_life() -> None:
    profile = profile_of([purchase(7, NOW)])

    assert weights(profile, 7) == [1.0] * 6
    assert (profile.reference[0], profile.purchases[0], profile.first[0], profile.last[0]) == (
        NOW, 1, NOW, NOW,
    )  # fmt: skip


def test_after_a_week_a_purchase_has_lost_half_at_the_half_life_of_a_week() -> None:
    profile = profile_of([purchase(7, NOW - 7 * DAY_SECONDS), purchase(7, NOW)])

    assert weights(profile, 7) == pytest.approx(
        [1 + 2**-1, 1 + 2**-0.5, 1 + 2**-0.25, 1 + 2**-0.125, 1 + 2**-0.0625, 1 + 2**-0.03125], rel=1e-6
    )


def test_a_late_purchase_counts_what_is_left_of_it() -> None:
    in_order = profile_of([purchase(7, NOW - 7 * DAY_SECONDS), purchase(7, NOW)])
    late = profile_of([purchase(7, NOW), purchase(7, NOW - 7 * DAY_SECONDS)])

    assert weights(late, 7) == pytest.approx(weights(in_order, 7), rel=1e-6)
    assert (late.reference[0], late.first[0], late.last[0]) == (NOW, NOW - 7 * DAY_SECONDS, NOW)


def test_what_was_only_shown_leaves_no_trace() -> None:
    assert len(profile_of([Act(7, "view_item_list", NOW), Act(7, "ad_impression", NOW)])) == 0


def test_a_refund_takes_the_weight_back_and_not_the_purchase() -> None:
    profile = profile_of([purchase(7, NOW), Act(7, "refund", NOW)])

    assert weights(profile, 7) == [0.0] * 6
    assert profile.purchases[0] == 1


def test_only_purchases_are_counted_and_dated() -> None:
    profile = profile_of([Act(7, "click", NOW)])

    assert (profile.purchases[0], profile.first[0], profile.last[0]) == (0, 0, 0)
    assert weights(profile, 7) == [0.25] * 6


def test_each_half_life_is_half_of_the_next() -> None:
    assert HALF_LIVES_DAYS == (7, 14, 28, 56, 112, 224)


def test_a_full_profile_forgets_the_category_that_has_least_left() -> None:
    recent = [purchase(category, NOW) for category in range(1, MAX_CATEGORIES)]
    faded = purchase(900, NOW - 300 * DAY_SECONDS)

    profile = profile_of([faded, *recent, purchase(901, NOW)])

    assert (len(profile), profile.row_of(900)) == (MAX_CATEGORIES, None)
    assert weights(profile, 901) == [1.0] * 6
    assert weights(profile, 255) == [1.0] * 6


def test_what_is_forgotten_is_told_apart_by_what_is_left_now_not_by_what_it_was() -> None:
    many_long_ago = [purchase(900, NOW - 2000 * DAY_SECONDS)] * 3
    one_lately = [purchase(category, NOW) for category in range(1, MAX_CATEGORIES)]

    profile = profile_of([*many_long_ago, *one_lately, Act(901, "click", NOW)])

    assert profile.row_of(900) is None


def test_of_equals_the_same_one_is_forgotten_in_every_order() -> None:
    full = [purchase(category, NOW) for category in range(1, MAX_CATEGORIES + 1)]

    forgotten = [
        set(range(1, MAX_CATEGORIES + 1)) - set(profile_of([*order, purchase(901, NOW)]).categories)
        for order in (full, full[::-1])
    ]

    assert forgotten == [{1}, {1}]


@given(st.lists(ACTS, max_size=25).flatmap(lambda acts: st.tuples(st.just(acts), st.permutations(acts))))
def test_any_order_of_arrival_leaves_the_decayed_sums(both: tuple[list[Act], list[Act]]) -> None:
    acts, arrived = both
    acts = [act for act in acts if ACTION_WEIGHTS[act.kind]]

    profile = profile_of(arrived)

    assert set(profile.categories) == {act.category for act in acts}
    for row, category in enumerate(profile.categories):
        own = [act for act in acts if act.category == category]
        newest = max(act.second for act in own)
        assert profile.reference[row] == newest
        for column, half_life in enumerate(HALF_LIVES_DAYS):
            left = [
                ACTION_WEIGHTS[kind] * 0.5 ** ((newest - second) / (half_life * DAY_SECONDS))
                for _, kind, second in own
            ]
            # float32 rounds to 6e-8 of what was added up on the way, which may cancel out in the end
            assert weights(profile, category)[column] == pytest.approx(
                sum(left), abs=1e-6 * sum(map(abs, left)) + 1e-9
            )
        bought = [act.second for act in own if act.kind == "purchase"]
        assert profile.purchases[row] == len(bought)
        assert (profile.first[row], profile.last[row]) == ((min(bought), max(bought)) if bought else (0, 0))
