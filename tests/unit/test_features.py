"""What the head is told of a user, computed by hand."""

import numpy as np
import pytest

from stream.events import EVENT_TYPES
from stream.features import (
    HISTORY_FEATURES,
    NEVER_DAYS,
    USER_FEATURES,
    behaviour_weights,
    history_features,
    profile_scores,
    user_features,
    window_vectors,
)
from stream.state import UserState
from stream.window import BehaviourWindow, WindowPolicy
from tests.builders import NOW_MS, behaviour, days

TEA, BRIE, UNKNOWN = 101, 102, 999
ROWS = {TEA: 0, BRIE: 2}
NEVER = [0.0] * 7 + [NEVER_DAYS, NEVER_DAYS, 50.0]


def bought(*purchases: tuple[int, float], kind: str = "purchase") -> UserState:
    """Purchases of a category so many days ago."""
    state = UserState()
    for category, ago in purchases:
        moment = NOW_MS - days(ago)
        state.profile.add(category, EVENT_TYPES.index(kind), moment)
        state.orders.see(moment // 1000)
        state.orders.add(moment // 1000)
    return state


def window_of(*behaviours: tuple[float, str]) -> BehaviourWindow:
    """Behaviours of a type so many days ago."""
    window = BehaviourWindow()
    for number, (ago, kind) in enumerate(behaviours):
        window.add(behaviour(NOW_MS - days(ago), b"%d" % number, kind=kind), WindowPolicy())
    return window


def history(state: UserState, now_ms: int = NOW_MS) -> list[list[float]]:
    features = history_features(state, ROWS, 3, now_ms)
    assert features.shape == (3, len(HISTORY_FEATURES))
    assert features.dtype == np.float32
    return [[float(value) for value in row] for row in features]


def test_a_user_without_history_says_so_for_every_interest() -> None:
    assert history(UserState()) == [NEVER] * 3


def test_categories_that_are_no_interest_are_passed_over() -> None:
    assert history(bought((UNKNOWN, 1))) == [NEVER] * 3


def test_one_purchase_a_week_ago() -> None:
    rows = history(bought((BRIE, 7), (UNKNOWN, 1)))

    assert rows[0] == NEVER
    assert rows[2] == pytest.approx(
        [2**-1, 2**-0.5, 2**-0.25, 2**-0.125, 2**-0.0625, 2**-0.03125, 1, 7, NEVER_DAYS, 50], rel=1e-6
    )


def test_repeated_purchases_have_a_rhythm() -> None:
    row = history(bought((TEA, 30), (TEA, 20), (TEA, 10), (TEA, 4)))[0]

    # four purchases over 26 days: a gap of 26 / 3 days, and 4 days since the last
    assert row[6:] == pytest.approx([4, 4, 26 / 3, 4 / (26 / 3)], rel=1e-6)


def test_purchases_of_one_trip_count_half_a_day_apart() -> None:
    row = history(bought((TEA, 2), (TEA, 2)))[0]

    assert row[6:] == [2, 2, 0, 4]


def test_long_ago_is_never() -> None:
    row = history(bought((TEA, 3000), (TEA, 2999.9)))[0]

    assert (row[7], row[9]) == (NEVER_DAYS, 50)


def test_a_category_only_looked_at_has_weight_and_no_purchase() -> None:
    row = history(bought((TEA, 0), kind="click"))[0]

    assert row[:7] == [0.25] * 6 + [0]
    assert row[7:] == [NEVER_DAYS, NEVER_DAYS, 50]


def test_what_was_taken_back_more_than_given_weighs_nothing() -> None:
    assert history(bought((TEA, 0), kind="refund"))[0][:6] == [0.0] * 6


def test_a_question_asked_before_the_last_event_sees_no_negative_time() -> None:
    row = history(bought((TEA, 0)), now_ms=NOW_MS - days(1))[0]

    assert row[:8] == [1, 1, 1, 1, 1, 1, 1, 0]


def test_a_new_user_as_a_whole() -> None:
    features = user_features(UserState(), NOW_MS)

    assert features.shape == (len(USER_FEATURES),)
    assert features.tolist() == [0, 0, 0, 0, 0, 0, NEVER_DAYS, 0, 0, 0, 0]


def test_a_user_as_a_whole() -> None:
    state = bought((TEA, 56), (BRIE, 14), (UNKNOWN, 7))
    state.profile.add(77, EVENT_TYPES.index("click"), NOW_MS)
    for number in range(3):
        state.window.add(behaviour(NOW_MS, b"%d" % number), WindowPolicy())

    features = user_features(state, NOW_MS).tolist()

    assert features[0] == pytest.approx(2**-8 + 2**-2 + 2**-1, rel=1e-6)
    assert features[2] == pytest.approx(2**-2 + 2**-0.5 + 2**-0.25, rel=1e-6)
    assert features[6:9] == [7, 56, 3]
    assert features[9] == pytest.approx(2**-1 + 2**-0.25 + 2**-0.125 + 0.25, rel=1e-6)
    assert features[10] == 3


def test_a_user_who_was_gone_for_years_is_capped_at_never() -> None:
    assert user_features(bought((TEA, 3000)), NOW_MS).tolist()[6:8] == [NEVER_DAYS, NEVER_DAYS]


def test_behaviours_weigh_by_their_act_and_their_age() -> None:
    window = window_of((4, "purchase"), (2, "click"), (0, "remove_from_cart"), (-1, "purchase"))

    assert behaviour_weights(window, 2.0, NOW_MS).tolist() == pytest.approx([0.25, 0.125, -0.5, 1.0])


def test_window_vectors_are_pooled_and_have_length_one() -> None:
    window = window_of((2, "purchase"), (0, "purchase"))
    east, north = np.array([1, 0], np.float32), np.array([0, 1], np.float32)

    pooled = window_vectors(window, [east, north], 2, NOW_MS)

    assert pooled.shape == (2, 2)
    assert pooled[0].tolist() == pytest.approx([0.5 / 1.25**0.5, 1 / 1.25**0.5], rel=1e-6)
    older = 2 ** (-2 / 14)
    assert pooled[1].tolist() == pytest.approx(
        [older / (older**2 + 1) ** 0.5, 1 / (older**2 + 1) ** 0.5], rel=1e-6
    )


def test_texts_without_a_vector_are_left_out_with_their_weight() -> None:
    window = window_of((1, "purchase"), (0, "click"))

    pooled = window_vectors(window, [None, np.array([0, 2], np.float32)], 2, NOW_MS)

    assert pooled.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("vectors", [[], [None, None]])
def test_nothing_known_is_a_zero_vector(vectors: list[None]) -> None:
    window = window_of(*((0, "click") for _ in vectors))

    assert window_vectors(window, vectors, 3, NOW_MS).tolist() == [[0, 0, 0]] * 2


def test_behaviours_that_cancel_out_are_a_zero_vector() -> None:
    window = window_of((0, "add_to_cart"), (0, "remove_from_cart"))
    tea = np.array([1, 0], np.float32)

    assert window_vectors(window, [tea, tea], 2, NOW_MS).tolist() == [[0, 0]] * 2


def test_the_counts_alone_give_the_chance_of_a_poisson_purchase() -> None:
    rows = np.zeros((3, 10), np.float32)
    rows[1, 2], rows[2, 2] = 1.0, 2.0

    assert profile_scores(rows).tolist() == [0.0, 0.5, 0.75]
