"""The behaviour window against a brute-force one: sort everything, keep the last N inside the span."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.window import DAY_MS, Behaviour, BehaviourWindow, WindowPolicy
from tests.builders import behaviour

POLICY = WindowPolicy(size=3)

BEHAVIOURS = st.builds(
    Behaviour,
    occurred_at_ms=st.integers(0, 12),  # few values, so that many are equal
    event_id=st.sampled_from([b"a", b"b", b"ab", b""]),
    position=st.integers(0, 2),
    kind=st.integers(0, 2),
    category_hash=st.integers(0, 3),
    text_hash=st.sampled_from([0, 1, 2**64 - 1]),
)


def filled(*behaviours: Behaviour, policy: WindowPolicy = POLICY) -> BehaviourWindow:
    window = BehaviourWindow()
    for one in behaviours:
        window.add(one, policy)
    return window


def times(window: BehaviourWindow) -> list[int]:
    return [one.occurred_at_ms for one in window.behaviours()]


def test_an_empty_window_holds_nothing() -> None:
    assert (len(BehaviourWindow()), BehaviourWindow().behaviours()) == (0, [])


def test_a_behaviour_comes_out_as_it_went_in() -> None:
    one = Behaviour(5, b"id", 199, 13, 2**64 - 1, 2**63)

    assert filled(one).behaviours() == [one]


def test_behaviours_stand_in_order_of_time_however_they_came() -> None:
    assert times(filled(behaviour(3), behaviour(1), behaviour(2))) == [1, 2, 3]


def test_a_full_window_lets_the_oldest_go() -> None:
    assert times(filled(*(behaviour(moment) for moment in (4, 1, 3, 2)))) == [2, 3, 4]


def test_a_full_window_takes_nothing_that_is_older_than_all_it_holds() -> None:
    assert times(filled(*(behaviour(moment) for moment in (2, 3, 4, 1)))) == [2, 3, 4]


def test_at_one_moment_the_event_id_decides_then_the_position() -> None:
    window = filled(
        behaviour(1, b"b"), behaviour(1, b"a", position=1), behaviour(1, b"a", position=0)
    )  # fmt: skip

    assert [(one.event_id, one.position) for one in window.behaviours()] == [(b"a", 0), (b"a", 1), (b"b", 0)]


def test_a_window_made_smaller_by_settings_shrinks_with_the_next_behaviour() -> None:
    window = filled(*(behaviour(moment) for moment in range(5)), policy=WindowPolicy(size=5))

    window.add(behaviour(9), WindowPolicy(size=2))

    assert times(window) == [4, 9]


@pytest.mark.parametrize(("before_ms", "kept"), [(1, [1, 2, 3]), (2, [2, 3]), (4, [])])
def test_what_happened_before_a_moment_expires(before_ms: int, kept: list[int]) -> None:
    window = filled(behaviour(1), behaviour(2), behaviour(3))

    window.expire(before_ms)

    assert times(window) == kept


def test_the_default_window_is_64_behaviours_in_30_days() -> None:
    assert WindowPolicy()[:3] == (64, 30 * DAY_MS, DAY_MS)


@given(arrivals=st.lists(BEHAVIOURS, max_size=30), size=st.integers(1, 8))
def test_any_order_of_arrival_leaves_the_last_n(arrivals: list[Behaviour], size: int) -> None:
    window = filled(*arrivals, policy=WindowPolicy(size=size))

    assert window.behaviours() == sorted(arrivals)[-size:]


@given(
    arrivals=st.lists(st.tuples(BEHAVIOURS, st.integers(0, 12)), max_size=30),
    size=st.integers(1, 8),
    span=st.integers(0, 12),
)
def test_any_order_of_arrival_and_expiry_leaves_the_last_n_inside_the_span(
    arrivals: list[tuple[Behaviour, int]], size: int, span: int
) -> None:
    window, now = BehaviourWindow(), 0
    for one, moment in arrivals:
        now = max(now, moment)
        window.add(one, WindowPolicy(size=size))
        window.expire(now - span)

    inside = [one for one, _ in arrivals if one.occurred_at_ms >= now - span]
    assert window.behaviours() == sorted(inside)[-size:]
