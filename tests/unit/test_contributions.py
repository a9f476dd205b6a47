"""What moved an update: shares by weight and likeness, one per event."""

import numpy as np
import pytest

from stream.contributions import Contribution, TopInterests, contributions
from stream.features import Floats
from stream.window import BehaviourWindow, WindowPolicy
from tests.builders import NOW_MS, behaviour, days

TEA, BRIE, NAILS = 1, 2, 3
EAST, NORTH = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


def window_of(*acts: tuple[bytes, int, str, float]) -> BehaviourWindow:
    """Acts of an event id on a category, of a type, so many days ago."""
    window = BehaviourWindow()
    for position, (event_id, category, kind, ago) in enumerate(acts):
        window.add(
            behaviour(NOW_MS - days(ago), event_id, position=position, category=category, kind=kind),
            WindowPolicy(),
        )
    return window


def top(*interests: tuple[int, Floats, float]) -> TopInterests:
    categories, vectors, scores = zip(*interests, strict=True)
    return TopInterests(categories, np.stack(vectors), np.array(scores, np.float32))


def explained(
    window: BehaviourWindow, vectors: list[Floats | None], interests: TopInterests, most: int = 3
) -> list[Contribution]:
    return contributions(window, vectors, interests, NOW_MS, most)


def test_behaviours_of_the_interest_itself_share_by_act_and_recency() -> None:
    window = window_of((b"old", TEA, "purchase", 2), (b"new", TEA, "purchase", 0))

    moved = explained(window, [None, None], top((TEA, EAST, 0.9)))

    assert [(one.row, one.interest) for one in moved] == [(1, 0), (0, 0)]
    assert [one.share for one in moved] == pytest.approx([2 / 3, 1 / 3])


def test_a_text_like_the_interest_counts_by_the_square_of_its_cosine() -> None:
    half = np.array([0.5, 0.75**0.5], np.float32)
    window = window_of((b"a", NAILS, "purchase", 0), (b"b", TEA, "purchase", 0))

    shares = {one.row: one.share for one in explained(window, [half, None], top((TEA, EAST, 0.5)))}

    assert shares == {1: pytest.approx(1 / 1.25), 0: pytest.approx(0.25 / 1.25)}


def test_a_text_unlike_the_interest_counts_nothing() -> None:
    window = window_of((b"a", NAILS, "purchase", 0), (b"b", TEA, "purchase", 0))

    rows = [one.row for one in explained(window, [-EAST, NORTH], top((TEA, EAST, 0.5)))]

    assert rows == [1]


def test_each_behaviour_names_the_interest_that_it_moved_most() -> None:
    window = window_of((b"a", BRIE, "purchase", 0), (b"b", TEA, "purchase", 0))

    moved = explained(window, [None, None], top((TEA, EAST, 0.9), (BRIE, NORTH, 0.3)))

    assert [(one.row, one.interest) for one in moved] == [(1, 0), (0, 1)]
    assert [one.share for one in moved] == pytest.approx([0.75, 0.25])


def test_an_event_is_named_once_by_its_strongest_behaviour() -> None:
    window = window_of(
        (b"basket", TEA, "purchase", 0), (b"basket", TEA, "purchase", 0), (b"x", TEA, "click", 0)
    )

    moved = explained(window, [None] * 3, top((TEA, EAST, 0.9)))

    assert [window.event_ids[one.row] for one in moved] == [b"basket", b"x"]
    assert moved[0].share == pytest.approx(1 / 2.25)


def test_taking_back_moves_an_update_too() -> None:
    window = window_of((b"a", TEA, "refund", 0))

    assert [one.share for one in explained(window, [None], top((TEA, EAST, 0.9)))] == [1.0]


def test_no_more_are_named_than_asked_for() -> None:
    window = window_of(*((b"%d" % number, TEA, "click", number) for number in range(5)))

    assert [window.event_ids[one.row] for one in explained(window, [None] * 5, top((TEA, EAST, 0.9)), most=2)] == [
        b"0", b"1",
    ]  # fmt: skip


def test_an_empty_window_moved_nothing() -> None:
    assert explained(BehaviourWindow(), [], top((TEA, EAST, 0.9))) == []


def test_without_interests_nothing_was_moved() -> None:
    nothing = TopInterests([], np.zeros((0, 2), np.float32), np.zeros(0, np.float32))

    assert explained(window_of((b"a", TEA, "click", 0)), [EAST], nothing) == []


@pytest.mark.parametrize(("category", "score"), [(NAILS, 0.9), (TEA, 0.0)])
def test_behaviours_that_have_nothing_to_do_with_it_moved_nothing(category: int, score: float) -> None:
    window = window_of((b"a", category, "click", 0))

    assert explained(window, [None], top((TEA, EAST, score))) == []
