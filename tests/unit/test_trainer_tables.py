"""A shop of four households (the last may not be learnt from) and three interests in two departments."""

from datetime import date

import numpy as np
import pytest

from trainer.dates import seconds
from trainer.samples import Purchases
from trainer.tables import Tables, department_of, freeze_tables

DAY = 86_400
NOW = date(2017, 9, 3)
FITTED = np.array([True, True, True, False])
DEPARTMENTS = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
START = (0, 0, 200)


def purchases(*rows: tuple[int, int, int]) -> Purchases:
    """Household, interest and age in days at ``NOW`` of baskets with one line each."""
    ordered = sorted((START, *rows), key=lambda row: -row[2])
    household, interest, age = (np.array(column, dtype=np.int32) for column in zip(*ordered, strict=True))
    basket = np.arange(len(age), dtype=np.int32)
    return Purchases(household, basket, interest, interest, seconds(NOW) - age.astype(np.int64) * DAY)


def frozen(*rows: tuple[int, int, int]) -> Tables:
    return freeze_tables(purchases(*rows), FITTED, DEPARTMENTS, NOW)


def test_a_rate_is_the_share_of_learnable_households_that_bought() -> None:
    tables = frozen((0, 1, 10), (1, 1, 20), (3, 1, 5))

    assert np.exp(tables.rates[1, 0]) - 1e-3 == pytest.approx(2 / 3, abs=1e-6)


def test_what_is_bought_on_the_day_itself_or_later_is_unknown() -> None:
    before = frozen((0, 1, 10))
    after = frozen((0, 1, 10), (1, 1, 0), (2, 2, -3))

    for name, array in before.arrays().items():
        np.testing.assert_array_equal(array, after.arrays()[name], err_msg=name)


def test_a_household_that_may_not_be_learnt_from_changes_nothing() -> None:
    before = frozen((0, 1, 10), (1, 2, 40))
    after = frozen((0, 1, 10), (1, 2, 40), (3, 0, 3), (3, 1, 30), (3, 2, 90))

    for name, array in before.arrays().items():
        np.testing.assert_array_equal(array, after.arrays()[name], err_msg=name)


def test_interests_bought_by_the_same_households_are_neighbours() -> None:
    tables = frozen((0, 1, 10), (0, 2, 20), (1, 1, 10), (1, 2, 90), (2, 0, 5))

    assert tables.neighbours[1, 2] > tables.neighbours[1, 0]
    assert np.diag(tables.neighbours).tolist() == [0.0, 0.0, 0.0]


def test_what_follows_is_counted_over_the_next_four_weeks() -> None:
    tables = frozen((1, 1, 40), (1, 2, 10))

    assert tables.follows[1, 2] == pytest.approx(1 / 21, abs=1e-6)  # one of one, shrunk by 20
    assert tables.follows[2, 1] == 0.0


def test_the_department_of_an_interest_is_the_last_part_of_its_text() -> None:
    texts = ["cola, soft drinks, grocery", "brie, cheese, dairy", "milk, dairy"]

    found = department_of(purchases((0, 1, 3), (0, 2, 2)), texts, 3)

    assert found.tolist() == [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
