"""The user's state and its encoding: nothing is lost, equal bytes come back, and there is a largest one."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.consent import Consent
from stream.errors import StateVersionError
from stream.exposure import MAX_EXPOSURES, Exposures
from stream.profile import HALF_LIVES_DAYS, MAX_CATEGORIES, Profile
from stream.recent import MAX_RECENT_IDS, RecentIds
from stream.setting_sections import WindowSettings
from stream.state import (
    ENCODING_VERSION,
    MAX_STATE_BYTES,
    Orders,
    UserState,
    decode_state,
    encode_state,
    peek_applied,
    peek_consent,
    peek_erased,
    peek_revision,
)
from stream.window import Behaviour, BehaviourWindow, WindowPolicy
from tests.builders import NOW_MS, behaviour

NOW = NOW_MS // 1000
WIDTH = len(HALF_LIVES_DAYS)

U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
I64 = st.integers(-(2**63), 2**63 - 1)
F32 = st.floats(width=32, allow_nan=False)
BEHAVIOURS = st.builds(Behaviour, I64, st.binary(max_size=40), U8, U8, U64, U64)


@st.composite
def states(draw: st.DrawFn) -> UserState:
    """States that need not make sense, with every column filled."""
    state = UserState()
    state.revision, state.folded_at_ms, state.erased_at_ms = draw(U32), draw(I64), draw(I64)
    state.applied = draw(st.dictionaries(U64, I64, max_size=6))
    state.consent = draw(st.builds(Consent, U16, U32, st.booleans(), st.booleans()))
    state.orders = draw_orders(draw)
    for one in draw(st.lists(BEHAVIOURS, max_size=5)):
        state.window.add(one, WindowPolicy())
    state.profile = draw_profile(draw)
    for event_hash in draw(st.sets(U64, max_size=5)):
        state.recent.remember(event_hash, draw(U32), draw(I64))
    for campaign, moment in draw(st.lists(st.tuples(U64, I64), max_size=5)):
        state.exposures.show(campaign, moment)
    state.exposures.clicks = draw(U32)
    return state


def draw_orders(draw: st.DrawFn) -> Orders:
    orders = Orders()
    orders.weights = array("f", draw(st.lists(F32, min_size=WIDTH, max_size=WIDTH)))
    orders.reference, orders.last, orders.first_seen, orders.count = (draw(U32) for _ in range(4))
    return orders


def draw_profile(draw: st.DrawFn) -> Profile:
    profile = Profile()
    for category in draw(st.sets(U64, max_size=5)):
        profile.categories.append(category)
        for column in (profile.reference, profile.last, profile.first, profile.purchases):
            column.append(draw(U32))
        profile.weights.extend(draw(st.lists(F32, min_size=WIDTH, max_size=WIDTH)))
    return profile


def contents(state: UserState) -> tuple[object, ...]:
    """All that a state says, without its caches."""
    parts: list[UserState | Orders | BehaviourWindow | Profile | RecentIds | Exposures]
    parts = [state.orders, state.window, state.profile, state.recent, state.exposures]
    return (
        state.revision,
        state.folded_at_ms,
        state.erased_at_ms,
        state.applied,
        state.consent,
        *({name: getattr(part, name) for name in part.__slots__ if name[0] != "_"} for part in parts),
    )


@given(states())
def test_a_state_comes_back_from_its_bytes_and_gives_the_same_bytes(state: UserState) -> None:
    data = encode_state(state)

    assert contents(decode_state(data)) == contents(state)
    assert encode_state(decode_state(data)) == data


@given(states())
def test_a_look_at_the_bytes_sees_what_decoding_sees(state: UserState) -> None:
    data = encode_state(state)

    assert (peek_revision(data), peek_erased(data), peek_applied(data), peek_consent(data)) == (
        state.revision, bool(state.erased_at_ms), state.applied, state.consent,
    )  # fmt: skip


@given(states())
def test_a_state_of_version_1_is_that_of_a_user_who_said_nothing(state: UserState) -> None:
    state.consent = Consent()
    data = encode_state(state)
    # Version 1 had two spare bytes where the purposes are, and no second of expiry behind the header.
    version_1 = bytes([1]) + data[1:6] + b"\0\0" + data[8:46] + data[50:]

    assert contents(decode_state(version_1)) == contents(state)
    assert (peek_revision(version_1), peek_applied(version_1)) == (state.revision, state.applied)
    assert peek_consent(version_1) == Consent()
    assert encode_state(decode_state(version_1)) == data


def test_a_state_from_bytes_is_worked_on_as_before() -> None:
    state = UserState()
    for moment in (1, 3):
        state.window.add(behaviour(moment), WindowPolicy())
        state.profile.add(11, 9, NOW_MS)
        state.recent.remember(moment, 0, moment)

    again = decode_state(encode_state(state))
    for one in (state, again):
        one.window.add(behaviour(2), WindowPolicy())
        one.profile.add(11, 9, NOW_MS + 1000)
        one.profile.add(12, 9, NOW_MS)
        one.recent.expire(2)

    assert encode_state(again) == encode_state(state)


def test_a_new_state_takes_few_bytes() -> None:
    assert len(encode_state(UserState())) == 50 + 40


def test_the_largest_state_that_settings_allow_fits_the_cap() -> None:
    size = WindowSettings.model_fields["size"].metadata[1].le  # the larger bound of ge, le
    longest_id = ("\U0001f9c0" * 256).encode()  # 256 characters, as the contract has it, in 4 bytes each
    state = UserState()
    state.applied = dict.fromkeys(range(255), 2**62)
    for moment in range(size):
        state.window.add(behaviour(moment, longest_id), WindowPolicy(size=size))
    for category in range(1, MAX_CATEGORIES + 2):
        state.profile.add(category, 9, NOW_MS)
    for event_hash in range(MAX_RECENT_IDS + 1):
        state.recent.remember(event_hash, 0, NOW_MS)
    for _ in range(MAX_EXPOSURES + 1):
        state.exposures.show(1, NOW_MS)

    assert size == 255
    assert len(encode_state(state)) <= MAX_STATE_BYTES


def test_a_full_default_state_takes_what_its_byte_budget_says() -> None:
    state = UserState()
    state.applied = dict.fromkeys(range(5), 1)
    for moment in range(64):
        state.window.add(behaviour(moment, b"x" * 36), WindowPolicy())
    for category in range(30):
        state.profile.add(category, 9, NOW_MS)
    for event_hash in range(30):
        state.recent.remember(event_hash, 0, NOW_MS)

    assert len(encode_state(state)) == 50 + 5 * 16 + 40 + 64 * (28 + 36) + 30 * 48 + 30 * 20


def test_a_state_of_a_newer_release_is_refused_by_name() -> None:
    data = bytes([ENCODING_VERSION + 1]) + encode_state(UserState())[1:]

    with pytest.raises(StateVersionError) as caught:
        decode_state(data)

    assert str(caught.value) == (
        "user state has encoding version 4, this release reads up to 3: run the release that wrote it, or a newer one"
    )


def test_orders_count_purchases_and_remember_the_first_event() -> None:
    orders = Orders()
    for second in (NOW, NOW - 7 * 86_400):
        orders.see(second)
        orders.add(second)
    orders.see(NOW - 9 * 86_400)
    orders.see(NOW)

    assert (orders.count, orders.last, orders.reference, orders.first_seen) == (
        2, NOW, NOW, NOW - 9 * 86_400,
    )  # fmt: skip
    assert orders.weights[0] == pytest.approx(1.5, rel=1e-6)
