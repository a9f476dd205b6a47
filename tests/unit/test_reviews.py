"""The calendar of reviews against a dictionary of the last plans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.reviews import Review, Reviews, next_review_ms

STEPS = st.lists(
    st.tuples(st.just("plan"), st.integers(0, 20), st.sampled_from([b"a", b"b", b"c"]))
    | st.tuples(st.just("take"), st.integers(0, 20), st.just(b"")),
    max_size=40,
)


def planned(*reviews: Review) -> Reviews:
    calendar = Reviews()
    for review in reviews:
        calendar.plan(review)
    return calendar


def test_reviews_come_when_their_time_has_come_the_earliest_first() -> None:
    calendar = planned(Review(30, 0, b"c"), Review(10, 0, b"a"), Review(20, 1, b"b"))

    assert calendar.take(9, 5) == []
    assert calendar.take(20, 5) == [Review(10, 0, b"a"), Review(20, 1, b"b")]
    assert (calendar.take(29, 5), len(calendar)) == ([], 1)


def test_no_more_come_than_asked_for() -> None:
    calendar = planned(Review(10, 0, b"a"), Review(10, 0, b"b"))

    assert [calendar.take(10, 1), calendar.take(10, 1)] == [[Review(10, 0, b"a")], [Review(10, 0, b"b")]]


def test_a_time_of_zero_is_never() -> None:
    calendar = planned(Review(0, 0, b"a"), Review(5, 0, b"b"), Review(0, 0, b"b"))

    assert (calendar.take(99, 5), len(calendar)) == ([], 0)


def test_a_review_that_was_moved_comes_at_its_new_time_only() -> None:
    later = planned(Review(10, 0, b"a"), Review(30, 0, b"a"))
    earlier = planned(Review(30, 0, b"a"), Review(10, 0, b"a"))

    assert (later.take(29, 5), later.take(30, 5)) == ([], [Review(30, 0, b"a")])
    assert (earlier.take(10, 5), earlier.take(99, 5)) == ([Review(10, 0, b"a")], [])


def test_a_moved_review_keeps_its_place_among_the_others() -> None:
    calendar = planned(Review(10, 0, b"a"), Review(20, 0, b"b"), Review(30, 0, b"a"))

    assert calendar.take(99, 5) == [Review(20, 0, b"b"), Review(30, 0, b"a")]


def test_a_user_who_is_scored_all_the_time_takes_one_entry() -> None:
    calendar = planned(*(Review(moment, 0, b"a") for moment in range(1, 10_000)))

    assert (len(calendar), len(calendar._heap)) == (1, 1)


def test_users_who_came_once_and_are_forgotten_take_no_room() -> None:
    calendar = planned(Review(10**9, 0, b"stays"))
    for guest in range(10_000):
        calendar.plan(Review(10**9, 0, b"%d" % guest))
        calendar.plan(Review(0, 0, b"%d" % guest))

    assert len(calendar) == 1
    assert len(calendar._heap) == len(calendar._entered_at) <= 1_003
    assert calendar.take(10**9, 5) == [Review(10**9, 0, b"stays")]


def test_clearing_forgets_all() -> None:
    calendar = planned(Review(10, 0, b"a"))

    calendar.clear()

    assert (len(calendar), calendar.take(99, 5)) == (0, [])
    calendar.plan(Review(20, 0, b"a"))
    assert calendar.take(99, 5) == [Review(20, 0, b"a")]


@pytest.mark.parametrize("spare_entries", [1_000, 0])
@given(steps=STEPS)
def test_what_was_planned_last_is_what_comes(spare_entries: int, steps: list[tuple[str, int, bytes]]) -> None:
    calendar, model = Reviews(spare_entries), dict[bytes, int]()
    for step, moment, key in steps:
        if step == "take":
            due = sorted((at, key) for key, at in model.items() if at <= moment)
            assert [(one.at_ms, one.key) for one in calendar.take(moment, 9)] == due
            model = {key: at for key, at in model.items() if at > moment}
        elif moment:
            calendar.plan(Review(moment, 0, key))
            model[key] = moment
        else:
            calendar.plan(Review(moment, 0, key))
            model.pop(key, None)
        assert len(calendar) == len(model)


def test_the_next_review_is_one_period_after_the_scoring() -> None:
    assert next_review_ms(at_ms=1000, now_ms=1000, period_ms=24) == 1024
    assert next_review_ms(at_ms=1000, now_ms=1047, period_ms=24) == 1024


def test_a_user_quiet_for_many_periods_is_looked_at_once_as_of_the_last_of_them() -> None:
    first = next_review_ms(at_ms=1000, now_ms=3450, period_ms=24)

    assert first == 1000 + 102 * 24
    assert next_review_ms(at_ms=first, now_ms=3450, period_ms=24) > 3450
