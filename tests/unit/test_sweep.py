"""Whom the state forgets, and that a marker of an erasure is kept as long as it must."""

import pytest

from stream.fold import ERASED_MARKER_MS
from stream.state import UserState, encode_state, peek_folded
from stream.sweep import EvictionRules, Seen, evicted, is_crowded
from tests.builders import NOW_MS, days

YEAR = EvictionRules(ttl_ms=days(365), max_users=100)


def user(name: str, quiet_days: float, *, is_erased: bool = False) -> Seen:
    return Seen(NOW_MS - days(quiet_days), name.encode(), is_erased)


def test_who_was_quiet_for_longer_than_the_limit_is_forgotten() -> None:
    seen = [user("old", 365.1), user("quiet", 365), user("new", 0)]

    assert evicted(seen, NOW_MS, YEAR, most=0) == {b"old": "expired"}


def test_without_a_limit_nobody_is() -> None:
    assert evicted([user("old", 4000)], NOW_MS, EvictionRules(), most=0) == {}


@pytest.mark.parametrize(("quiet_ms", "gone"), [(ERASED_MARKER_MS, False), (ERASED_MARKER_MS + 1, True)])
def test_a_marker_outlives_a_shorter_limit(*, quiet_ms: int, gone: bool) -> None:
    marker = Seen(NOW_MS - quiet_ms, b"erased", is_erased=True)

    assert (b"erased" in evicted([marker], NOW_MS, EvictionRules(ttl_ms=days(1)), most=0)) is gone


def test_of_too_many_those_who_were_quiet_longest_go_and_some_room_is_made() -> None:
    seen = [user(f"u{number}", number) for number in range(100)]

    gone = evicted(seen, NOW_MS, YEAR, most=60)

    assert gone == {f"u{number}".encode(): "crowded" for number in range(57, 100)}


def test_a_crowd_pushes_out_no_marker() -> None:
    seen = [*(user(f"e{number}", 20, is_erased=True) for number in range(3)), user("a", 2), user("b", 1)]

    assert evicted(seen, NOW_MS, YEAR, most=4) == {b"a": "crowded", b"b": "crowded"}


def test_who_expired_leaves_room_for_others() -> None:
    assert evicted([user("old", 400), user("a", 1), user("b", 2)], NOW_MS, YEAR, most=2) == {
        b"old": "expired"
    }


@pytest.mark.parametrize(
    ("users", "most", "crowded"), [(101, 100, True), (100, 100, False), (9**9, 0, False)]
)
def test_a_worker_is_crowded_above_its_cap(*, users: int, most: int, crowded: bool) -> None:
    assert is_crowded(users, EvictionRules(max_users=most)) is crowded


def test_when_a_user_was_last_heard_of_is_read_without_the_rest() -> None:
    state = UserState()
    state.folded_at_ms = NOW_MS

    assert peek_folded(encode_state(state)) == NOW_MS
