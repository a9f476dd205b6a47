"""Ids seen lately: what a duplicate is recognised by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.recent import MAX_RECENT_IDS, RecentIds


def remembered(*ids: tuple[int, int, int]) -> RecentIds:
    recent = RecentIds()
    for event_hash, body, occurred_at_ms in ids:
        recent.remember(event_hash, body, occurred_at_ms)
    return recent


def test_an_id_is_known_with_its_body() -> None:
    recent = remembered((2**64 - 1, 2**32 - 1, 5))

    assert (recent.body_of(2**64 - 1), recent.body_of(1), len(recent)) == (2**32 - 1, None, 1)


@pytest.mark.parametrize(("before_ms", "known"), [(5, True), (6, False)])
def test_an_id_is_known_as_long_as_its_event_may_come_again(before_ms: int, *, known: bool) -> None:
    recent = remembered((1, 10, 5))

    recent.expire(before_ms)

    assert (recent.body_of(1) is not None) is known


def test_an_old_id_behind_a_younger_one_stays_with_it() -> None:
    recent = remembered((1, 10, 9), (2, 20, 5))

    recent.expire(6)
    assert recent.body_of(2) == 20

    recent.expire(10)
    assert len(recent) == 0


def test_beyond_its_cap_the_first_id_goes() -> None:
    recent = remembered(*((number, 0, 5) for number in range(MAX_RECENT_IDS + 1)))

    assert (len(recent), recent.body_of(0), recent.body_of(1), recent.body_of(MAX_RECENT_IDS)) == (
        MAX_RECENT_IDS, None, 0, 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "occurred_at_ms", "flooded"),
    [
        (MAX_RECENT_IDS, 5, True),
        (MAX_RECENT_IDS - 1, 5, False),
        (MAX_RECENT_IDS, 5 + 59_999, True),
        (MAX_RECENT_IDS, 5 + 60_000, False),
        (MAX_RECENT_IDS, 5 - 60_000, False),
    ],
)
def test_as_many_events_as_are_remembered_within_a_minute_are_a_flood(
    *, known: int, occurred_at_ms: int, flooded: bool
) -> None:
    recent = remembered(*((number, 0, 5) for number in range(known)))

    assert recent.is_flooded(occurred_at_ms, 60_000) is flooded
    assert not recent.is_flooded(occurred_at_ms, 0)


def test_ids_can_be_let_go_before_any_was_asked_for() -> None:
    recent = remembered((1, 10, 5), (2, 20, 6))
    stored = RecentIds()
    stored.ids, stored.bodies, stored.occurred = recent.ids, recent.bodies, recent.occurred

    stored.expire(6)

    assert (stored.body_of(1), stored.body_of(2)) == (None, 20)


@given(
    steps=st.lists(
        st.tuples(st.just("remember"), st.integers(0, 30), st.integers(0, 20))
        | st.tuples(st.just("expire"), st.just(0), st.integers(0, 20)),
        max_size=40,
    )
)
def test_it_knows_every_id_that_may_come_again(steps: list[tuple[str, int, int]]) -> None:
    recent, seen, expired_before = RecentIds(), dict[int, int](), 0
    for step, event_hash, moment in steps:
        if step == "expire":
            recent.expire(moment)
            expired_before = max(expired_before, moment)
        elif recent.body_of(event_hash) is None:
            recent.remember(event_hash, event_hash + 100, moment)
            seen[event_hash] = moment

    for event_hash, occurred_at_ms in seen.items():
        if occurred_at_ms >= expired_before:
            assert recent.body_of(event_hash) == event_hash + 100
    assert [recent.body_of(event_hash) for event_hash in recent.ids] == list(recent.bodies)
