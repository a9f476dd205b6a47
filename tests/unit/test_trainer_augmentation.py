"""What every augmentation promises of any window, and what each does to one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Behaviours,
    Substitutes,
    crop,
    mask,
    neighbours,
    one_of,
    reorder,
    substitute,
    with_synonyms,
)

pytestmark = pytest.mark.trainer
TEXTS = 8
OTHERS = [np.array([(row + 1) % TEXTS, (row + 2) % TEXTS]) for row in range(TEXTS)]
NOTHING = [np.zeros(0, dtype=np.int64)] * TEXTS
RATIO = st.floats(0.0, 1.0)
SEED = st.integers(0, 2**32)


@st.composite
def windows(draw: st.DrawFn) -> Behaviours:
    texts = draw(st.lists(st.integers(0, TEXTS - 1), max_size=20))
    kinds = draw(st.lists(st.integers(0, 9), min_size=len(texts), max_size=len(texts)))
    times = sorted(draw(st.lists(st.integers(0, 10**12), min_size=len(texts), max_size=len(texts))))
    return Behaviours(
        np.array(texts, dtype=np.int64), np.array(kinds, dtype=np.uint8), np.array(times, dtype=np.int64)
    )


def as_lists(behaviours: Behaviours) -> list[list[int]]:
    return [column.tolist() for column in behaviours]


@given(windows(), SEED, st.sampled_from(AUGMENTATIONS))
def test_any_window_stays_a_window_and_what_was_given_is_unchanged(
    window: Behaviours, seed: int, name: Augmentation
) -> None:
    before = as_lists(window)
    alter = one_of([name], Substitutes(OTHERS, OTHERS))

    altered = alter(window, np.random.default_rng(seed))

    assert as_lists(window) == before
    assert len(altered.texts) == len(altered.kinds) == len(altered.occurred_ms) <= len(window.texts)
    assert bool(len(altered.texts)) == bool(len(window.texts))
    assert (np.diff(altered.occurred_ms) >= 0).all()
    assert set(altered.texts.tolist()) <= set(range(TEXTS))


@given(windows(), SEED, st.sampled_from(AUGMENTATIONS))
def test_one_seed_gives_one_window(window: Behaviours, seed: int, name: Augmentation) -> None:
    alter = one_of([name], Substitutes(OTHERS, OTHERS))

    first, again = (alter(window, np.random.default_rng(seed)) for _ in range(2))

    assert as_lists(first) == as_lists(again)


@given(windows(), SEED)
def test_a_ratio_of_nothing_changes_nothing(window: Behaviours, seed: int) -> None:
    draw = np.random.default_rng(seed)
    altered = [alter(window, 0.0, draw) for alter in (crop, mask, reorder)]

    altered.append(substitute(window, OTHERS, 0.0, draw))

    assert all(as_lists(one) == as_lists(window) for one in altered)


@given(windows(), RATIO, SEED)
def test_a_crop_is_a_run_of_the_window(window: Behaviours, ratio: float, seed: int) -> None:
    cropped = as_lists(crop(window, ratio, np.random.default_rng(seed)))
    whole = as_lists(window)
    length = len(cropped[0])

    assert any(
        cropped == [column[start : start + length] for column in whole] for start in range(len(whole[0]) + 1)
    )


@given(windows(), RATIO, SEED)
def test_what_a_mask_leaves_stands_in_its_order(window: Behaviours, ratio: float, seed: int) -> None:
    left = list(zip(*as_lists(mask(window, ratio, np.random.default_rng(seed))), strict=True))
    whole = iter(zip(*as_lists(window), strict=True))

    assert all(behaviour in whole for behaviour in left)


@given(windows(), RATIO, SEED)
def test_reordering_keeps_the_behaviours_and_the_times(window: Behaviours, ratio: float, seed: int) -> None:
    altered = reorder(window, ratio, np.random.default_rng(seed))

    assert altered.occurred_ms.tolist() == window.occurred_ms.tolist()
    assert sorted(zip(altered.texts, altered.kinds, strict=True)) == sorted(
        zip(window.texts, window.kinds, strict=True)
    )


@given(windows(), SEED)
def test_with_a_ratio_of_one_each_text_becomes_one_that_may_stand_for_it(
    window: Behaviours, seed: int
) -> None:
    altered = substitute(window, OTHERS, 1.0, np.random.default_rng(seed))

    pairs = zip(window.texts, altered.texts, strict=True)
    assert all(new in OTHERS[old] for old, new in pairs)


@given(windows(), SEED)
def test_a_text_that_nothing_stands_for_stays(window: Behaviours, seed: int) -> None:
    altered = substitute(window, NOTHING, 1.0, np.random.default_rng(seed))

    assert as_lists(altered) == as_lists(window)


def test_neighbours_are_the_nearest_and_nothing_far() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.96, 0.28], [-1, 0]], dtype=np.float32)

    found = neighbours(vectors, 2)

    assert [rows.tolist() for rows in found] == [[2, 1], [2, 0], [0, 1], []]


def test_words_with_synonyms_make_further_texts() -> None:
    told, rows = with_synonyms(
        ["soft drinks, pop", "brie", "popcorn"], {"soft drinks": "soda", "pop": "fizz"}
    )

    assert told == ["soft drinks, pop", "brie", "popcorn", "soda, fizz"]
    assert [row.tolist() for row in rows] == [[3], [], [], []]


def test_without_synonyms_there_are_no_further_texts() -> None:
    assert with_synonyms(["brie"], {})[0] == ["brie"]
