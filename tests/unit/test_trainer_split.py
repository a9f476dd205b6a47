import json
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from stream.model.repository import newest_version
from tests.made_samples import REPOSITORY
from trainer.calendar import Calendar, calendar_of
from trainer.dates import seconds
from trainer.errors import TrainerError
from trainer.interests import LabelSet, interest_ids, slug
from trainer.samples import Purchases, bought_between, outcomes

DAY = 86_400
#: Its last purchase is after the last midnight of the year.
COMPLETE_JOURNEY = calendar_of(date(2017, 1, 1), date(2018, 1, 1))
VALIDATION = date(2017, 10, 1)


def purchases(*rows: tuple[int, int, int, int]) -> Purchases:
    """Household, basket, interest and second of each line."""
    household, basket, interest, at = (np.array(column) for column in zip(*rows, strict=True))
    return Purchases(household, basket, interest, np.zeros_like(household), at)


def test_the_labels_of_the_last_fit_cutoff_end_where_validation_begins() -> None:
    assert (
        COMPLETE_JOURNEY.fit_cutoffs()[-1] + timedelta(days=28) == VALIDATION == COMPLETE_JOURNEY.validation
    )


def test_the_calendar_of_the_complete_journey_stays_what_figures_were_published_for() -> None:
    tests = tuple(date(2017, 10, 29) + timedelta(weeks=week) for week in range(6))

    assert Calendar(first_fit=date(2017, 5, 7), validation=VALIDATION, tests=tests) == COMPLETE_JOURNEY


def test_fit_cutoffs_are_weekly_and_before_validation_and_test() -> None:
    days = COMPLETE_JOURNEY.cutoffs()
    fitted = COMPLETE_JOURNEY.fit_cutoffs()

    assert len(days) == 18 + 1 + 6
    assert days[18:20] == [date(2017, 10, 1), date(2017, 10, 29)]
    assert {(after - before).days for before, after in pairwise(fitted)} == {7}


def test_the_labels_of_the_last_test_cutoff_end_with_the_year() -> None:
    assert COMPLETE_JOURNEY.end_seconds == seconds(date(2017, 12, 31))


def test_a_calendar_is_what_its_document_says() -> None:
    assert Calendar.of(COMPLETE_JOURNEY.document()) == COMPLETE_JOURNEY


@pytest.mark.parametrize(
    ("first_fit", "tests", "complaint"),
    [
        (date(2017, 9, 4), (date(2017, 10, 29),), "end 2017-10-02, after validation begins .2017-10-01."),
        (date(2017, 9, 3), (date(2017, 10, 28),), "end 2017-10-29, after the first test cutoff .2017-10-28."),
        (date(2017, 9, 3), (), "there is none"),
        (date(2017, 9, 3), (date(2017, 11, 5), date(2017, 10, 29)), "in time order.*2017-11-05, 2017-10-29"),
    ],
)
def test_labels_that_reach_into_the_next_part_are_refused(
    first_fit: date, tests: tuple[date, ...], complaint: str
) -> None:
    with pytest.raises(TrainerError, match=complaint):
        Calendar(first_fit, VALIDATION, tests)


def test_tables_are_four_weeks_old_and_never_know_the_validation_month() -> None:
    assert COMPLETE_JOURNEY.table_day(date(2017, 9, 3)) == date(2017, 8, 6)
    assert COMPLETE_JOURNEY.table_day(date(2017, 10, 29)) == VALIDATION
    assert COMPLETE_JOURNEY.table_day(date(2017, 12, 3)) == VALIDATION


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pnt btr/jelly & jams 2", "pnt-btr-jelly-jams-2"),
        ("Käse", "käse"),
        ("сыр и масло", "сыр-и-масло"),
        ("हिन्दी चाय", "हिन्दी-चाय"),
        ("緑茶 (100g)", "緑茶-100g"),
        ("★ / !", ""),
    ],
)
def test_a_slug_keeps_letters_and_digits_of_any_script(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_every_category_has_an_id_of_its_own() -> None:
    names = ["soft drinks", "soft-drinks", "★", "!!!"]

    # printf 'soft-drinks' | sha256sum, and so on
    assert interest_ids(names) == [
        "soft-drinks",
        "soft-drinks-5dfd0aee",
        "category-26c57b08",
        "category-e84c538e",
    ]
    assert len(LabelSet(names)) == 4


def test_the_shipped_interests_keep_their_ids() -> None:
    shipped = json.loads(
        (newest_version(REPOSITORY / "interest_head") / "labels.json").read_text(encoding="utf-8")
    )

    labels = LabelSet([interest["category"] for interest in shipped["interests"]])

    assert labels.hash == shipped["label_set_hash"]


def test_a_category_that_is_listed_twice_is_refused_by_name() -> None:
    with pytest.raises(TrainerError, match="categories repeat, up to case and spaces: 'soft drinks'"):
        LabelSet(["soft drinks", "Soft  Drinks"])
