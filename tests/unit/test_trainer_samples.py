"""Samples of any archive: point in time, labels, and what must not leak into what."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("duckdb", reason="needs the trainer extra: pip install 'interestflow[trainer]'")

from stream.archive.description import InterestChoice
from stream.events import EVENT_TYPES
from stream.held_out import is_held_out
from tests.shop_files import DAY_MS, FIRST_MS, purchase, write_archive
from trainer.calendar import Calendar, calendar_of
from trainer.capacity import require_memory, training_bytes
from trainer.dates import seconds
from trainer.errors import TrainerError
from trainer.events.reading import stored_records
from trainer.label_choice import buyers_by_category
from trainer.record import plan_samples, write_samples
from trainer.samples import Samples, outcomes
from trainer.tables import department_of, freeze_tables

pytestmark = pytest.mark.trainer

FIRST = date(2025, 1, 6)
WEEKS = 18
USERS = [f"u{number}" for number in range(9)]
FITTED = [user for user in USERS if not is_held_out(user)]
HELD_OUT = [user for user in USERS if is_held_out(user)]
CATEGORIES = ("cheese", "milk", "tea")


def shop() -> list[dict[str, Any]]:
    """Every user buys one category a week, in turn."""
    return [
        purchase(user, 7 * week + 0.1 * number + 0.05, CATEGORIES[(week + number) % 3])
        for week in range(WEEKS + 1)
        for number, user in enumerate(USERS)
    ]


def sampled(directory: Path, bodies: list[dict[str, Any]], received: dict[str, int] | None = None) -> Samples:
    archive = write_archive(
        directory / "events", sorted(bodies, key=lambda body: body["occurred_at_ms"]), received
    )
    return write_samples(plan_samples(archive), directory / "samples")


def tables_of(samples: Samples, day: date) -> dict[str, Any]:
    departments = department_of(samples.catalogue(), samples.texts, len(samples.labels))
    return freeze_tables(samples.fit_purchases(day), ~samples.held_out, departments, day).arrays()


def features_of(samples: Samples, day: date) -> dict[str, tuple[Any, ...]]:
    """By user: everything that is known at a cutoff, texts by their words."""
    snapshot = samples.snapshot(day)
    texts = [[samples.texts[text] for text in row if text >= 0] for row in snapshot.window_texts]
    columns = [column.tolist() for name, column in snapshot._asdict().items() if name != "window_texts"]
    return dict(zip(samples.households, zip(*columns, texts, strict=True), strict=True))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return sampled(tmp_path_factory.mktemp("shop"), shop())


def test_samples_of_a_made_shop(before: Samples) -> None:
    assert before.labels.names == ["cheese", "milk", "tea"]
    assert before.households == USERS
    assert before.data == {"name": "made", "sha256": "0" * 64}
    assert before.mailed == []
    bought, intent = outcomes(before.purchases(), before.calendar.validation, before.shape)
    assert bought.all()
    assert intent.shape == (9, 3)


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.sampled_from([*USERS, "new"]), st.floats(0.01, 27), st.sampled_from(EVENT_TYPES[:11])),
        min_size=1,
        max_size=5,
    )
)
def test_what_comes_after_a_cutoff_changes_no_feature(
    before: Samples, tmp_path_factory: pytest.TempPathFactory, added: list[tuple[str, float, str]]
) -> None:
    """Also not if it had occurred before: half of what is added arrives late."""
    cutoff = before.calendar.validation
    cutoff_ms = seconds(cutoff) * 1000
    bodies, received = shop(), {}
    for number, (user, days, event_type) in enumerate(added):
        day = (cutoff_ms - FIRST_MS) / DAY_MS + days
        body = purchase(user, day, "milk", event_id=f"added:{number}", event_type=event_type)
        if number % 2:
            body["occurred_at_ms"] = cutoff_ms - round(days * DAY_MS)
            received[body["event_id"]] = cutoff_ms + number
        bodies.append(body)

    after = sampled(tmp_path_factory.mktemp("more"), bodies, received)

    assert after.labels.names == before.labels.names
    changed = features_of(after, cutoff)
    assert {user: changed[user] for user in USERS} == features_of(before, cutoff)
    ours, theirs = tables_of(before, cutoff), tables_of(after, cutoff)
    # A new user who may be learnt from is one more who bought nothing yet; all others leave the tables as they are.
    if "new" not in after.households or is_held_out("new"):
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_what_comes_after_a_cutoff_and_is_left_out_changes_no_feature(
    before: Samples, tmp_path: Path
) -> None:
    cutoff = before.calendar.tests[0]
    end_ms = seconds(before.calendar.tests[-1] + timedelta(days=14)) * 1000
    kept = [
        body
        for body in shop()
        if body["occurred_at_ms"] < seconds(cutoff) * 1000 or body["occurred_at_ms"] > end_ms
    ]

    after = sampled(tmp_path, kept)

    assert features_of(after, cutoff) == features_of(before, cutoff)


def test_held_out_users_change_neither_the_tables_nor_the_interests(before: Samples, tmp_path: Path) -> None:
    bodies = [body for body in shop() if body["user_id"] in FITTED]
    bodies += [purchase(user, day, "caviar", "milk") for user in HELD_OUT for day in (0, 8, 40, 127)]

    after = sampled(tmp_path, bodies)

    day = before.calendar.validation
    assert HELD_OUT
    assert after.labels.names == before.labels.names
    ours, theirs = tables_of(before, day), tables_of(after, day)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_delayed_purchase_is_a_label_at_the_time_it_was_made(before: Samples, tmp_path: Path) -> None:
    cutoff = before.calendar.tests[-1]
    day = (seconds(cutoff) * 1000 - FIRST_MS) / DAY_MS + 1
    body = purchase("late", day, "milk")
    end_ms = seconds(cutoff + timedelta(days=28)) * 1000
    received = {body["event_id"]: end_ms + 3 * DAY_MS}

    after = sampled(tmp_path, [*shop(), body], received)

    bought, _ = outcomes(after.purchases(), cutoff, after.shape)
    assert bought[after.households.index("late")].tolist() == [False, True, False]


def test_a_smaller_share_of_the_users_is_part_of_a_larger_one(before: Samples) -> None:
    shares = [Samples(before.directory, share).fitted for share in (0.0, 0.3, 0.6, 1.0)]

    assert [int(fitted.sum()) for fitted in (shares[0], shares[-1])] == [0, len(FITTED)]
    assert all(np.all(larger[smaller]) for smaller, larger in pairwise(shares))
    assert not np.any(shares[-1] & before.held_out)


def test_interests_are_counted_on_users_that_are_not_held_out(tmp_path: Path) -> None:
    bodies = [purchase(user, number, "milk") for number, user in enumerate([*FITTED, *HELD_OUT])]
    archive = write_archive(tmp_path / "events", bodies)

    assert buyers_by_category(stored_records(archive), 2) == {"milk": set(FITTED)}


def test_a_sample_of_the_users_is_part_of_a_larger_one_and_counts_no_others(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "events", shop())

    four, six = (plan_samples(archive, InterestChoice(min_buyers=1), most) for most in (4, 6))
    made = write_samples(four, tmp_path / "samples")

    assert len(four.users) == 4
    assert [user for user in six.users if user in four.users] == four.users
    assert made.households == four.users
    assert set(made.purchases().household.tolist()) == set(range(4))
    with pytest.raises(TrainerError, match=r"have 5 buyers"):
        plan_samples(archive, InterestChoice(min_buyers=5), 4)


def test_samples_that_no_memory_can_hold_say_how_many_users_fit(before: Samples) -> None:
    needed = training_bytes(before)

    require_memory(before, needed)
    with pytest.raises(TrainerError, match=r"on 9 users, 3 interests .* again with --users 8, or"):
        require_memory(before, needed - 1)


def test_too_few_interests_say_what_to_do(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "events", shop(), choice=InterestChoice(min_buyers=1000))

    with pytest.raises(TrainerError, match=r"0 categories of level 2 have 1000 buyers .* lower --min-buyers"):
        plan_samples(archive)


def test_an_archive_without_purchases_says_so(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "events", [purchase("u", 0, "milk", event_type="click")])

    with pytest.raises(TrainerError, match="has no purchases"):
        plan_samples(archive)


@pytest.mark.parametrize("days", range(119, 400, 13))
def test_every_calendar_keeps_its_parts_apart(days: int) -> None:
    calendar = calendar_of(FIRST, FIRST + timedelta(days=days))

    fitted = calendar.fit_cutoffs()
    assert fitted[-1] + timedelta(days=28) == calendar.validation
    assert calendar.validation + timedelta(days=28) == calendar.tests[0]
    assert calendar.table_day(fitted[0]) - FIRST >= timedelta(days=7)
    assert calendar.end_seconds <= seconds(FIRST + timedelta(days=days))
    assert 1 <= len(calendar.tests) <= 6


def test_the_calendar_of_the_least_data() -> None:
    first_fit, validation, test, last = (FIRST + timedelta(days=days) for days in (35, 63, 91, 119))

    assert calendar_of(FIRST, last) == Calendar(first_fit=first_fit, validation=validation, tests=(test,))


def test_too_little_data_says_how_many_days_are_missing() -> None:
    with pytest.raises(
        TrainerError, match=r"are 98 days of whole weeks, and 119 are needed .* 21 days are missing"
    ):
        calendar_of(FIRST, FIRST + timedelta(days=100))
