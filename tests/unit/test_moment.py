"""As of when a user is scored, and by which request."""

import numpy as np
import pytest

from stream.due import DueUser
from stream.moment import Asked, UserMoment, seen_by, user_moment
from stream.score_record import ScoreRecord
from stream.state import UserState
from stream.window import WindowPolicy
from tests.builders import NOW_MS, behaviour
from tests.unit.test_interest_update import bundle

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DUE = DueUser(0, b"u1", 0, 0.0)


def moment(record: ScoreRecord) -> UserMoment:
    """Of a user with revision 8, folded an hour ago; the asked version is 5."""
    state = UserState()
    state.revision, state.folded_at_ms = 8, NOW_MS - HOUR_MS
    state.window.add(behaviour(NOW_MS - 2 * HOUR_MS, b"e7"), WindowPolicy())
    return user_moment(DUE, state, record, {}, Asked(bundle(), DAY_MS))


def scored(*, revision: int = 8, version: str = "5", next_review_ms: int = NOW_MS + DAY_MS) -> ScoreRecord:
    record = ScoreRecord()
    record.revision_scored, record.version, record.next_review_ms = revision, version, next_review_ms
    return record


@pytest.mark.parametrize("record", [ScoreRecord(), scored(revision=7), scored(revision=7, version="4")])
def test_who_has_news_is_scored_as_of_them(record: ScoreRecord) -> None:
    told = moment(record)

    assert (told.at_ms, told.request) == (NOW_MS - HOUR_MS, "update")


def test_a_quiet_user_is_looked_at_as_of_the_planned_review() -> None:
    told = moment(scored())

    assert (told.at_ms, told.request) == (NOW_MS + DAY_MS, f"review-{NOW_MS + DAY_MS}")


def test_whom_a_retired_version_scored_is_scored_as_of_then_and_not_of_a_time_that_lies_ahead() -> None:
    told = moment(scored(version="4"))

    assert (told.at_ms, told.request) == (NOW_MS, "version-5")


def test_another_version_sees_the_same_moment_by_its_own_label_set() -> None:
    ours = moment(scored())
    other = bundle(interests=bundle().interests[:2], row_by_category={})

    theirs = seen_by(ours, {}, other)

    assert (theirs.at_ms, theirs.request, theirs.due) == (ours.at_ms, ours.request, ours.due)
    assert theirs.history.shape[0] == 2
    assert ours.history.shape[0] == 3
    assert np.array_equal(theirs.features, ours.features)
