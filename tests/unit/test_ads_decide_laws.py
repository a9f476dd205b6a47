"""What holds of every decision: caps as counted one by one, no matter of order, repeats identical, one winner."""

from hypothesis import given
from hypothesis import strategies as st

from stream.ads.campaign import Campaign, FrequencyCap
from stream.ads.decide import AdPolicy, is_capped
from stream.ads.decision import CandidateReason
from stream.ads.reservations import Reservation, Reservations
from stream.exposure import Exposures, campaign_hash
from tests.unit.ads_builders import HOUR_MS, NOW_MS, campaign, cheese, decided, exposures, user, wine

RANKED = {
    CandidateReason.BEST_VALUE,
    CandidateReason.EXPLORED,
    CandidateReason.OUTRANKED,
    CandidateReason.EXPLORED_OTHER,
}

spans = st.integers(1, 48 * HOUR_MS)


@given(
    times=st.lists(st.integers(NOW_MS - 50 * HOUR_MS, NOW_MS), max_size=30),
    reserved=st.integers(0, 5),
    cap=st.none() | st.builds(FrequencyCap, impressions=st.integers(1, 20), span_ms=spans),
    default=st.integers(1, 20),
    span_ms=spans,
)
def test_a_cap_counts_as_counting_one_by_one_does(
    times: list[int], reserved: int, cap: FrequencyCap | None, default: int, span_ms: int
) -> None:
    policy = AdPolicy(cap_impressions=default, cap_span_ms=span_ms)
    seen = Exposures()
    for moment in times:
        seen.show(campaign_hash("a"), moment)

    limit, since_ms = (cap.impressions, NOW_MS - cap.span_ms) if cap else (default, NOW_MS - span_ms)
    counted = seen.count_since(campaign_hash("a"), since_ms) + reserved

    assert is_capped(campaign("a", frequency_cap=cap), times, reserved, policy, NOW_MS) == (counted >= limit)


campaigns = st.lists(
    st.builds(
        campaign,
        st.sampled_from("abcdefgh"),
        bid_cpm=st.sampled_from([0.25, 1.0, 2.0, 4.0]),
        status=st.sampled_from(["active", "active", "active", "paused"]),
        creatives=st.sampled_from(
            [[wine("1"), cheese("2")], [cheese("2"), wine("1")], [wine("3")], [cheese("4"), cheese("5")]]
        ),
        frequency_cap=st.sampled_from([None, FrequencyCap(impressions=1, span_ms=HOUR_MS)]),
    ),
    max_size=8,
    unique_by=lambda one: one.cid,
)
policies = st.builds(
    lambda explore_ratio, cap: AdPolicy(explore_ratio=explore_ratio, cap_impressions=cap),
    st.sampled_from([0.0, 0.5]),
    st.integers(1, 3),
)
seen_cids = st.lists(st.sampled_from("abcdefgh"), max_size=10)


@given(st.data(), campaigns, policies, seen_cids)
def test_the_order_in_which_campaigns_came_changes_nothing(
    data: st.DataObject, some: list[Campaign], policy: AdPolicy, seen: list[str]
) -> None:
    of = user(exposures=exposures(*seen))

    shuffled = decided(*data.draw(st.permutations(some)), of=of, policy=policy)

    assert shuffled == decided(*some, of=of, policy=policy)


@given(campaigns, policies, seen_cids, seen_cids)
def test_a_decision_made_again_is_identical(
    some: list[Campaign], policy: AdPolicy, seen: list[str], promised: list[str]
) -> None:
    before = Reservations(
        Reservation(campaign_hash(cid), number, NOW_MS - 10 * number) for number, cid in enumerate(promised)
    )
    of = user(exposures=exposures(*seen), reservations=before)
    first = decided(*some, of=of, policy=policy)

    again = decided(*some, of=of._replace(reservations=first.reservations), policy=policy)

    assert again.decision.to_bytes() == first.decision.to_bytes()
    assert again.reservations == first.reservations


@given(campaigns, policies, seen_cids)
def test_every_campaign_stands_once_and_the_winner_is_the_best_of_the_eligible(
    some: list[Campaign], policy: AdPolicy, seen: list[str]
) -> None:
    decision = decided(*some, of=user(exposures=exposures(*seen)), policy=policy).decision

    assert [one.cid for one in decision.candidates] == sorted(one.cid for one in some)
    won = [one for one in decision.candidates if one.outcome == "won"]
    ranked = [one for one in decision.candidates if one.reason in RANKED]
    assert len(won) == (1 if ranked else 0)
    assert (decision.bid is None) == (not ranked)
    if won and won[0].reason is CandidateReason.BEST_VALUE:
        best = min(ranked, key=lambda one: (-(one.value or 0.0), one.cid))
        assert won == [best]
