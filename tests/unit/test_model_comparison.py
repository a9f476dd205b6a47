"""Two model versions on the same users, over the interests that both have."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.model.comparison import Compared, SharedInterests


def floats(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def test_the_same_scores_are_no_difference() -> None:
    scores = floats((0.1, 0.9, 0.5), (0.3, 0.2, 0.1))

    told = SharedInterests(["tea", "brie", "nails"], ["tea", "brie", "nails"]).compare(scores, scores, 2)

    assert told == pytest.approx(Compared(2.0, 0.0, 2.0, 2.1, 2.1))


def test_interests_are_matched_by_id_and_not_by_row() -> None:
    shared = SharedInterests(["tea", "brie", "nails"], ["nails", "soap", "tea"])

    told = shared.compare(floats((0.5, 0.9, 0.1)), floats((0.3, 0.8, 0.5)), 1)

    assert len(shared) == 2
    assert told == pytest.approx(Compared(1.0, 0.1, 1.0, 0.6, 0.8))


def test_the_overlap_is_the_share_of_top_interests_that_both_name() -> None:
    shared = SharedInterests(["a", "b", "c", "d"], ["a", "b", "c", "d"])

    told = shared.compare(floats((0.9, 0.8, 0.1, 0.0)), floats((0.9, 0.1, 0.8, 0.0)), 2)

    assert told.overlap == 0.5


@pytest.mark.parametrize("ids", [["x", "y"], []])
def test_without_a_shared_interest_or_a_user_nothing_was_compared(ids: list[str]) -> None:
    shared = SharedInterests(["a"], ids)

    assert shared.compare(floats((0.1,)), np.zeros((1, len(ids)), np.float32), 3) == Compared(0, 0, 0, 0, 0)
