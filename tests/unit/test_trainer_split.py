from datetime import date, timedelta

import numpy as np
import pytest

from trainer.dates import TEST, VALIDATION, cutoffs, fit_cutoffs, seconds, table_day
from trainer.interests import LabelSet, slug
from trainer.samples import Purchases, bought_between, outcomes

DAY = 86_400


def purchases(*rows: tuple[int, int, int, int]) -> Purchases:
    """Household, basket, interest and second of each line."""
    household, basket, interest, at = (np.array(column) for column in zip(*rows, strict=True))
    return Purchases(household, basket, interest, np.zeros_like(household), at)


def test_the_labels_of_the_last_fit_cutoff_end_where_validation_begins() -> None:
    assert fit_cutoffs()[-1] + timedelta(days=28) == date(2017, 10, 1) == VALIDATION


def test_fit_cutoffs_are_weekly_and_before_validation_and_test() -> None:
    days = cutoffs()

    assert len(days) == 20
    assert days[-2:] == [date(2017, 10, 1), date(2017, 10, 29)]
    assert {
        (after - before).days for before, after in zip(fit_cutoffs(), fit_cutoffs()[1:], strict=False)
    } == {7}


def test_tables_are_four_weeks_old_and_never_know_the_validation_month() -> None:
    assert table_day(date(2017, 9, 3)) == date(2017, 8, 6)
    assert table_day(TEST) == date(2017, 10, 1)


def test_a_label_counts_from_the_cutoff_until_before_the_28th_day() -> None:
    cutoff = seconds(VALIDATION)
    bought = purchases(
        (0, 0, 0, cutoff - 1),
        (0, 1, 1, cutoff),
        (1, 2, 2, cutoff + 28 * DAY - 1),
        (1, 3, 0, cutoff + 28 * DAY),
    )

    labels, _ = outcomes(bought, VALIDATION, (2, 3))

    assert labels.tolist() == [[False, True, False], [False, False, True]]


def test_a_basket_of_no_interest_is_still_an_intent() -> None:
    bought = purchases((0, 0, -1, seconds(VALIDATION) + 2 * DAY))

    labels, intent = outcomes(bought, VALIDATION, (1, 3))

    assert not labels.any()
    assert intent.tolist() == [[False, True, True]]


def test_purchases_at_the_end_of_a_span_are_outside_it() -> None:
    assert not bought_between(purchases((0, 0, 0, 10)), 0, 10, (1, 1)).any()


def test_the_label_set_hash_is_that_of_the_ids_in_row_order() -> None:
    labels = LabelSet(["soft drinks", "cheese"])

    # printf 'soft-drinks\ncheese' | sha256sum
    assert labels.hash == "c59ee1ed9fa2cf17b27e65a99bbe20987eb2ca705065227b4a2a89293ccfdc09"


def test_a_slug_keeps_letters_and_digits() -> None:
    assert slug("pnt btr/jelly & jams 2") == "pnt-btr-jelly-jams-2"


def test_two_categories_with_one_id_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="interest ids repeat: soft-drinks"):
        LabelSet(["soft drinks", "soft-drinks"])
