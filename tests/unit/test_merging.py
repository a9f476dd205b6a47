"""Two users' states into one: what a fold over all events as one user's leaves, as far as a state can tell."""

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.consent import ALL_PURPOSES, Consent, combined, stated
from stream.exposure import MAX_EXPOSURES, campaign_hash
from stream.fold import Received, fold_event
from stream.merging import drain, exported, joint_consent, leaving, take_in
from stream.profile import MAX_CATEGORIES, Profile
from stream.recent import MAX_RECENT_IDS, RecentIds
from stream.setting_sections import WindowSettings
from stream.state import MAX_STATE_BYTES, UserState, decode_state, encode_state, peek_moved
from stream.ties import MAX_ALIASES, NO_TIES, REDIRECT_MS, Alias, Ties
from stream.window import WindowPolicy
from tests.builders import NOW_MS, behaviour, days, decoded, item, received

#: Nothing of a story is late, and the window is small enough to be full.
POLICY = WindowPolicy(size=6, span_ms=days(3), lateness_grace_ms=days(10))
HANDOVER = Received(99, 7, NOW_MS, 0, 0, b"")
PURPOSES = 0b111100
NOW_S = NOW_MS // 1000


class Act(NamedTuple):
    """An event of one of the two."""

    by: str
    ago_ms: int
    event_type: str
    category: str


ACTS = st.builds(
    Act,
    st.sampled_from(["known", "other"]),
    st.integers(0, days(8)),
    st.sampled_from(["click", "purchase", "refund", "view_item_list", "ad_impression", "ad_click"]),
    st.sampled_from(["tea", "cheese", "bread"]),
)


def folded(acts: Sequence[tuple[int, Act]], state: UserState | None = None) -> UserState:
    state = state or UserState()
    first = max(state.applied.values(), default=-1) + 1
    for offset, (number, act) in enumerate(acts, first):
        fields: dict[str, Any] = {
            "event_id": f"e{number}",
            "event_type": act.event_type,
            "occurred_at_ms": NOW_MS - act.ago_ms,
            "items": [item(f"p{number % 4}", act.category)],
        }
        if act.event_type.startswith("ad_"):
            fields["ad"] = {"cid": act.category}
        at = received(offset, NOW_MS, event_id=f"e{number}")
        fold_event(state, decoded(NOW_MS, **fields), at, POLICY, {})
    return state


def did(state: UserState) -> tuple[object, ...]:
    """All that a state says of what its user did, in an order of its own, without float32 rounding."""
    profile, orders, recent, exposures = state.profile, state.orders, state.recent, state.exposures
    return (
        state.window.behaviours(),
        sorted(
            (category, profile.reference[row], profile.last[row], profile.first[row], profile.purchases[row])
            for row, category in enumerate(profile.categories)
        ),
        (orders.reference, orders.last, orders.first_seen, orders.count),
        sorted(zip(recent.ids, recent.bodies, recent.occurred, strict=True)),
        sorted(zip(exposures.shown, exposures.campaigns, strict=True)),
        (exposures.impressions, exposures.clicks),
        state.folded_at_ms,
    )


def weights(state: UserState) -> list[float]:
    profile = state.profile
    rows = sorted(range(len(profile)), key=profile.categories.__getitem__)
    return [
        *(weight for row in rows for weight in profile.weights[row * 6 : row * 6 + 6]),
        *state.orders.weights,
    ]


@given(st.lists(ACTS, max_size=30))
def test_a_merge_leaves_what_one_fold_of_all_events_in_time_order_leaves(acts: list[Act]) -> None:
    numbered = list(enumerate(acts))
    known = folded([entry for entry in numbered if entry[1].by == "known"])
    other = folded([entry for entry in numbered if entry[1].by == "other"])
    together = folded(sorted(numbered, key=lambda entry: -entry[1].ago_ms))
    together.folded_at_ms = NOW_MS

    take_in(known, other, HANDOVER, POLICY)

    assert did(known) == did(together)
    assert weights(known) == pytest.approx(weights(together), rel=1e-5, abs=1e-5)


@given(st.lists(ACTS, max_size=20), st.integers(0, 20))
def test_events_that_come_before_or_after_a_merge_leave_the_same(acts: list[Act], cut: int) -> None:
    numbered = list(enumerate(acts))
    other = [entry for entry in numbered if entry[1].by == "other"]
    own = [entry for entry in numbered if entry[1].by == "known"]
    early, late = own[:cut], own[cut:]
    before, after = folded(own), folded(early)

    take_in(before, folded(other), HANDOVER, POLICY)
    take_in(after, folded(other), HANDOVER, POLICY)
    folded(late, after)

    assert did(after) == did(before)
    assert weights(after) == pytest.approx(weights(before), rel=1e-5, abs=1e-5)


@given(st.lists(ACTS, max_size=20))
def test_which_of_two_users_takes_the_other_in_makes_no_difference(acts: list[Act]) -> None:
    numbered = list(enumerate(acts))
    known = [entry for entry in numbered if entry[1].by == "known"]
    other = [entry for entry in numbered if entry[1].by == "other"]
    one, two = folded(known), folded(other)

    take_in(one, folded(other), HANDOVER, POLICY)
    take_in(two, folded(known), HANDOVER, POLICY)

    assert did(one) == did(two)
    assert weights(one) == pytest.approx(weights(two), rel=1e-5, abs=1e-5)


def test_decayed_weights_meet_at_the_later_reference_time() -> None:
    state, other = UserState(), UserState()
    state.profile.add(5, 9, NOW_MS)
    other.profile.add(5, 9, NOW_MS - days(28))

    take_in(state, other, HANDOVER, POLICY)

    assert list(state.profile.weights) == pytest.approx(
        [1 + 1 / 16, 1 + 1 / 4, 1 + 1 / 2, 1 + 0.5**0.5, 1 + 0.5**0.25, 1 + 0.5**0.125]
    )
    assert (list(state.profile.reference), list(state.profile.purchases)) == ([NOW_S], [2])
    assert (list(state.profile.first), list(state.profile.last)) == ([NOW_S - 28 * 86_400], [NOW_S])


def test_impressions_before_and_after_the_login_count_for_one_cap() -> None:
    state, other = UserState(), UserState()
    for one, count in ((state, 2), (other, 3)):
        for number in range(count):
            one.exposures.show(campaign_hash("c1"), NOW_MS - number)
    other.exposures.clicks = 1

    take_in(state, other, HANDOVER, POLICY)

    exposures = state.exposures
    assert (exposures.count_since(campaign_hash("c1"), 0), exposures.impressions, exposures.clicks) == (
        5,
        5,
        1,
    )


def test_of_an_id_that_both_know_our_body_stands() -> None:
    ours, theirs = RecentIds(), RecentIds()
    ours.remember(1, 10, NOW_MS)
    theirs.remember(1, 20, NOW_MS - 5)
    theirs.remember(2, 30, NOW_MS - 9)

    ours.merge(theirs)

    assert (ours.body_of(1), ours.body_of(2), list(ours.ids)) == (10, 30, [2, 1])


def test_two_full_profiles_keep_the_categories_that_have_most_left() -> None:
    ours, theirs = Profile(), Profile()
    for category in range(MAX_CATEGORIES):
        ours.add(category, 9, NOW_MS)
        theirs.add(10_000 + category, 9 if category < 10 else 0, NOW_MS)

    ours.merge(theirs)

    assert len(ours) == MAX_CATEGORIES
    assert {10_000 + category for category in range(10)} < set(ours.categories)
    assert 10_000 + 10 not in ours.categories


def test_the_largest_states_together_stay_within_the_cap() -> None:
    size = WindowSettings.model_fields["size"].metadata[1].le
    policy = WindowPolicy(size=size)
    state, other = full_state(0, policy), full_state(1, policy)
    longest = ("\U0001f9c0" * 256).encode()
    state.ties = Ties(
        longest, 2**64 - 1, tuple(Alias(longest, 2**64 - 1, 2**32 - 1) for _ in range(MAX_ALIASES))
    )

    take_in(state, other, HANDOVER, policy)

    assert len(state.exposures) == MAX_EXPOSURES
    assert MAX_STATE_BYTES - 2_000 < len(encode_state(state)) <= MAX_STATE_BYTES


def full_state(number: int, policy: WindowPolicy) -> UserState:
    state = UserState()
    longest = ("\U0001f9c0" * 256).encode()
    state.applied = dict.fromkeys(range(254), 2**62)
    for moment in range(policy.size):
        state.window.add(behaviour(NOW_MS - 2 * moment - number, longest), policy)
    for category in range(MAX_CATEGORIES):
        state.profile.add(2 * category + number, 9, NOW_MS)
    state.recent.ids = array("Q", range(number, 2 * MAX_RECENT_IDS, 2))
    state.recent.bodies = array("I", [0] * MAX_RECENT_IDS)
    state.recent.occurred = array("q", [NOW_MS] * MAX_RECENT_IDS)
    for _ in range(MAX_EXPOSURES):
        state.exposures.show(1, NOW_MS)
    return state


# -- leaving -----------------------------------------------------------------------------------------------------


def test_what_leaves_is_all_that_the_user_did_and_what_stays_only_says_into_whom() -> None:
    acts = [Act("known", 1000, "purchase", "tea"), Act("known", 2000, "ad_impression", "c1")]
    state = folded(list(enumerate(acts)))
    before = did(state)

    left = leaving(state, b"known", 5, HANDOVER, ALL_PURPOSES)
    export = decode_state(encode_state(exported(left)))
    drain(left)

    assert did(export) == before
    assert (export.applied, export.ties) == ({}, NO_TIES)
    redirect = decode_state(encode_state(left))
    assert (redirect.ties, redirect.revision, redirect.applied[99]) == (Ties(b"known"), 3, 7)
    assert (len(redirect.window), len(redirect.profile), redirect.orders.count) == (0, 0, 0)
    assert len(redirect.recent) == 2
    assert peek_moved(encode_state(left))
    assert not peek_moved(encode_state(export))


def test_of_a_user_who_may_not_be_profiled_nothing_leaves() -> None:
    state = folded([(0, Act("known", 1000, "purchase", "tea"))])
    state.consent = stated([2], None, is_minor=False)

    export = exported(leaving(state, b"known", 5, HANDOVER, ALL_PURPOSES))

    assert (len(export.window), len(export.profile), len(export.recent)) == (0, 0, 0)
    assert export.consent == state.consent


def test_a_redirect_that_leaves_again_takes_nothing_along() -> None:
    state = leaving(folded([(0, Act("known", 1000, "click", "tea"))]), b"first", 5, HANDOVER, ALL_PURPOSES)
    drain(state)

    export = exported(leaving(state, b"second", 6, HANDOVER._replace(offset=8), ALL_PURPOSES))

    assert (len(export.window), len(export.recent)) == (0, 0)


# -- consent -----------------------------------------------------------------------------------------------------


def said(*purposes: int, expires_s: int = 0, is_minor: bool = False) -> Consent:
    return stated(purposes, expires_s * 1000 or None, is_minor=is_minor)


@pytest.mark.parametrize(
    ("known", "other", "both"),
    [
        (Consent(), Consent(), Consent()),
        (said(3, 4), Consent(), said(3, 4)),
        (Consent(), said(3), said(3)),
        (said(2, 3, 4), said(3, 4, 5), said(3, 4)),
        (said(3, expires_s=90), said(3), said(3, expires_s=90)),
        (said(3, expires_s=90), said(3, expires_s=80), said(3, expires_s=80)),
        (said(3), said(3, is_minor=True), said(3, is_minor=True)),
        (Consent(is_minor=True), Consent(), Consent(is_minor=True)),
    ],
)
def test_two_consents_together_are_the_stricter_of_both(
    known: Consent, other: Consent, both: Consent
) -> None:
    assert combined(known, other, ALL_PURPOSES) == both


CONSENTS = st.builds(
    Consent,
    st.integers(0, 2**12 - 1),
    st.sampled_from([0, NOW_S - 1, NOW_S + 1]),
    st.booleans(),
    st.booleans(),
)


@given(CONSENTS, CONSENTS, st.sampled_from([0, PURPOSES, ALL_PURPOSES]))
def test_nobody_gains_a_purpose_by_a_merge(known: Consent, other: Consent, default: int) -> None:
    state = folded([(0, Act("other", 1000, "click", "tea"))])
    state.consent = other

    both = joint_consent(known, state, NOW_MS, default)

    assert both.allowed(NOW_MS, default) & ~known.allowed(NOW_MS, default) == 0
    assert both.is_minor is (known.is_minor or other.is_minor)


def test_a_refusal_of_the_anonymous_user_takes_nothing_from_the_known_one_for_nothing_comes_together() -> (
    None
):
    empty = UserState()
    empty.consent = said(2)

    assert joint_consent(said(3, 4), empty, NOW_MS, ALL_PURPOSES) == said(3, 4)


# -- ties --------------------------------------------------------------------------------------------------------


def test_an_alias_takes_the_place_of_an_older_one_and_those_whose_redirect_ended_go() -> None:
    old, first = Alias(b"old", 1, 0), Alias(b"a", 2, REDIRECT_MS // 1000 - 5)
    ties = Ties().with_alias(old).with_alias(first)
    again = Alias(b"a", 3, REDIRECT_MS // 1000)

    assert ties.aliases == (old, first)
    assert ties.with_alias(again).aliases == (again,)
    assert (ties.handover_of(b"a"), ties.handover_of(b"b")) == (2, None)


def test_beyond_the_cap_the_oldest_alias_is_forgotten() -> None:
    ties = Ties()
    for number in range(MAX_ALIASES + 1):
        ties = ties.with_alias(Alias(b"%d" % number, 1, NOW_S + number))

    assert (len(ties.aliases), ties.aliases[0].user) == (MAX_ALIASES, b"1")
