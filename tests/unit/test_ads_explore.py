"""Exploration: how often which campaign is shown, and that the propensity says so."""

import math
from collections import Counter
from typing import NamedTuple

from stream.ads.decide import AdPolicy
from stream.ads.decision import CandidateReason
from tests.unit.ads_builders import campaign, decided, reasons, user


class Trial(NamedTuple):
    chosen: str
    reason: CandidateReason
    propensity: float


def explore(explore_ratio: float, revision: int) -> Trial:
    result = decided(
        campaign("a", bid_cpm=4.0),
        campaign("b", bid_cpm=3.0),
        campaign("c", bid_cpm=2.0),
        campaign("paused", status="paused"),
        of=user(revision=revision),
        policy=AdPolicy(explore_ratio=explore_ratio),
    ).decision
    assert result.bid is not None
    won = next(one for one in result.candidates if one.outcome == "won")
    assert won.cid == result.bid.cid
    losers = {one.cid: one.reason for one in result.candidates if one.outcome == "lost"}
    assert losers["paused"] is CandidateReason.PAUSED
    if won.cid != "a":
        assert losers["a"] is CandidateReason.EXPLORED_OTHER
    return Trial(won.cid, won.reason, result.propensity)


def test_without_exploration_the_best_is_certain() -> None:
    assert {explore(0.0, revision) for revision in range(50)} == {Trial("a", CandidateReason.BEST_VALUE, 1.0)}


def test_exploration_shows_any_eligible_campaign_as_often_as_its_propensity_says() -> None:
    trials = Counter(explore(0.3, revision) for revision in range(2000))

    shares = {
        (trial.chosen, trial.reason): (trial.propensity, count / 2000) for trial, count in trials.items()
    }
    # 0.3 over three eligible: 0.1 each, and the best has the other 0.7 too. Three standard errors are 0.031.
    assert {key: round(propensity, 9) for key, (propensity, _) in shares.items()} == {
        ("a", CandidateReason.BEST_VALUE): 0.8,
        ("b", CandidateReason.EXPLORED): 0.1,
        ("c", CandidateReason.EXPLORED): 0.1,
    }
    assert all(math.isclose(propensity, share, abs_tol=0.031) for propensity, share in shares.values())


def test_the_best_loses_to_exploration_by_name() -> None:
    revision = next(revision for revision in range(100) if explore(0.5, revision).chosen != "a")

    decision = decided(
        campaign("a", bid_cpm=4.0),
        campaign("b", bid_cpm=3.0),
        campaign("c", bid_cpm=2.0),
        campaign("paused", status="paused"),
        of=user(revision=revision),
        policy=AdPolicy(explore_ratio=0.5),
    ).decision

    assert reasons(decision)["a"] == ("lost", "explored_other", 506)
    assert [one.reason for one in decision.candidates].count(CandidateReason.EXPLORED) == 1
