"""Decoded states of users at work."""

from stream.live import LiveStates
from stream.state import UserState, encode_state
from stream.stores.memory import MemoryStore
from tests.builders import NOW_MS


def stored(*users: tuple[int, bytes, int]) -> MemoryStore:
    """A store with users of a partition, each at a revision."""
    store = MemoryStore()
    for partition, key, revision in users:
        state = UserState()
        state.revision = revision
        store.put_batch(partition, [(key, encode_state(state))], revision)
    return store


def test_a_user_never_seen_gets_a_new_state_that_is_held() -> None:
    live = LiveStates(stored(), 10)

    state = live.load(0, b"a")

    assert (state.revision, live.cached(0, b"a")) == (0, state)


def test_a_known_user_is_read_from_the_store() -> None:
    assert LiveStates(stored((0, b"a", 7)), 10).load(0, b"a").revision == 7


def test_a_state_is_held_for_its_partition_only() -> None:
    live = LiveStates(stored(), 10)
    live.load(0, b"a")

    assert live.cached(1, b"a") is None


def test_beyond_its_bound_the_state_longest_held_goes() -> None:
    live = LiveStates(stored(), 2)
    for key in (b"a", b"b", b"c"):
        live.load(0, key)

    assert [live.cached(0, key) is None for key in (b"a", b"b", b"c")] == [True, False, False]


def test_a_state_can_be_replaced() -> None:
    live = LiveStates(stored(), 2)
    live.load(0, b"a")
    marker = UserState()
    marker.erased_at_ms = NOW_MS

    live.replace(0, b"a", marker)

    assert live.cached(0, b"a") is marker


def test_a_state_that_was_let_go_is_read_again() -> None:
    live = LiveStates(stored((0, b"a", 7), (0, b"b", 8)), 10)
    for key in (b"a", b"b"):
        live.load(0, key).revision = 99

    live.discard(0, {b"a", b"unknown"})

    kept = live.cached(0, b"b")
    assert kept is not None
    assert (live.load(0, b"a").revision, kept.revision) == (7, 99)


def test_clearing_lets_go_of_all() -> None:
    live = LiveStates(stored((0, b"a", 7)), 10)
    live.load(0, b"a").revision = 99

    live.clear()

    assert live.load(0, b"a").revision == 7
