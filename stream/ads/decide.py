"""Which ad to show to one user now: eligibility, caps, floor, rank, explore. Pure, with the time passed in.

Everything is decided by the arguments alone: the same user, snapshot, policy, time and request give the same
decision, also if the reservation of the first try is already in the user's reservations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from stream.ads.campaign import Campaign
from stream.ads.decision import (
    NONBID_CODES,
    AdDecision,
    Bid,
    Candidate,
    CandidateReason,
    Impression,
    ModelVersion,
    ScoreSource,
    decision_hash,
    decision_id,
)
from stream.ads.reservations import Reservation, Reservations
from stream.ads.response import Floats, ResponseModel, response_features
from stream.ads.snapshot import CampaignRows, CampaignSnapshot
from stream.exposure import Exposures
from stream.hashing import hash64
from stream.window import DAY_MS

#: Decimals of a published probability or value; ranking uses the published numbers, so that anyone can redo it
#: and no rounding of the last bit decides.
_DECIMALS: Final = 9
_HASH_RANGE: Final = 2**64


class AdPolicy(NamedTuple):
    """What the account allows; CPM in ``currency``."""

    floor_cpm: float = 0.5
    currency: str = "USD"
    cap_impressions: int = 3
    cap_span_ms: int = DAY_MS
    #: How long a decision counts as an impression that is still to come.
    reservation_ms: int = 30 * 60_000
    #: Share of decisions that show any eligible campaign, all alike.
    explore_ratio: float = 0.0
    #: IAB categories; one blocks those below it (IAB7 blocks IAB7-39).
    blocked_categories: frozenset[str] = frozenset()


class AdRequest(NamedTuple):
    """What is asked; ``request_id`` tells apart the decisions for one user at one revision."""

    request_id: str
    imp_id: str = "1"
    #: Blocked beside those of the policy.
    blocked_categories: frozenset[str] = frozenset()


class Scores(NamedTuple):
    """What is known of a user's interests, and where it came from."""

    #: [L]
    interests: Floats
    #: [D], zero if no model gave one.
    user_vector: Floats
    #: [U], as stream.features.user_features gives them.
    user_features: Floats
    source: ScoreSource
    model: ModelVersion | None


class AdUser(NamedTuple):
    """One user as SCORE sees them."""

    user_id: str
    revision: int
    exposures: Exposures
    reservations: Reservations
    #: None if neither a model nor the profile gave any: nothing can be ranked.
    scores: Scores | None
    #: Whether the user agreed to personalised ads; there is no other context here to choose by.
    allows_ads: bool = True


class Decided(NamedTuple):
    """The decision, and the reservations to store with it."""

    decision: AdDecision
    reservations: Reservations


class _Contender(NamedTuple):
    rows: CampaignRows
    loss: CandidateReason | None
    crid: str | None
    response: float | None
    value: float | None


def decide(
    user: AdUser,
    snapshot: CampaignSnapshot,
    response: ResponseModel,
    policy: AdPolicy,
    now_ms: int,
    request: AdRequest,
) -> Decided:
    """Choose at most one creative for the user and say of every campaign why it won or lost.

    Args:
        user: Scores, exposures and reservations as of one moment.
        snapshot: The campaigns, for the label set that the scores are of.
        response: Predicts the answer to a creative.
        policy: Floor, default cap, reservation time, exploration.
        now_ms: UTC epoch ms.
        request: What is asked.
    """
    decided_id = decision_id(user.user_id, user.revision, request.request_id)
    seed = decision_hash(decided_id)
    reservations = user.reservations.without(seed).settled(user.exposures, now_ms, policy.reservation_ms)
    losses = _losses(user.exposures, reservations.live_by_campaign(), policy, request, now_ms)
    if not user.allows_ads:
        losses = _no_consent
    contenders = _contenders(user, snapshot, response, losses)
    eligible = [index for index, contender in enumerate(contenders) if contender.loss is None]
    best = max(eligible, key=lambda index: contenders[index].value or 0.0) if eligible else None
    chosen, propensity = _explore(eligible, best, policy.explore_ratio, seed)
    if chosen is not None:
        campaign = contenders[chosen].rows.hash
        reservations = reservations.with_reservation(Reservation(campaign, seed, now_ms))
    scores = user.scores
    decision = AdDecision(
        decision_id=decided_id,
        user_id=user.user_id,
        revision=user.revision,
        request_id=request.request_id,
        decided_at_ms=now_ms,
        imp=Impression(id=request.imp_id, bidfloor=policy.floor_cpm, bidfloorcur=policy.currency),
        bid=None if chosen is None else _bid(contenders[chosen]),
        candidates=[
            _candidate(contender, _reason(contender, index, best, chosen))
            for index, contender in enumerate(contenders)
        ],
        propensity=propensity,
        source=scores.source if scores else "none",
        model=scores.model if scores else None,
    )
    return Decided(decision, reservations)


def _losses(
    exposures: Exposures, live: Mapping[int, int], policy: AdPolicy, request: AdRequest, now_ms: int
) -> Callable[[CampaignRows], CandidateReason | None]:
    """A function that says why a campaign can't take part, or None; the first of the reasons in order."""
    blocked = policy.blocked_categories | request.blocked_categories
    shown = _shown_by_campaign(exposures)

    def loss(rows: CampaignRows) -> CandidateReason | None:
        campaign = rows.campaign
        unrunnable = _not_running(campaign, now_ms)
        if unrunnable is not None:
            return unrunnable
        if rows.is_sensitive:
            return CandidateReason.SENSITIVE
        if blocked and any(cat in blocked or cat.partition("-")[0] in blocked for cat in campaign.cat):
            return CandidateReason.CATEGORY_BLOCKED
        times = shown.get(rows.hash, ())
        if is_capped(campaign, times, live.get(rows.hash, 0), policy, now_ms):
            return CandidateReason.FREQUENCY_CAP
        return CandidateReason.BELOW_FLOOR if campaign.bid_cpm < policy.floor_cpm else None

    return loss


def _no_consent(_: CampaignRows) -> CandidateReason | None:
    return CandidateReason.NO_CONSENT


def _not_running(campaign: Campaign, now_ms: int) -> CandidateReason | None:
    if now_ms < campaign.starts_at_ms:
        return CandidateReason.NOT_STARTED
    if now_ms >= campaign.ends_at_ms:
        return CandidateReason.ENDED
    return CandidateReason.PAUSED if campaign.status == "paused" else None


def is_capped(
    campaign: Campaign, shown_ms: Sequence[int], reserved: int, policy: AdPolicy, now_ms: int
) -> bool:
    """Whether one more impression would be one too many.

    Args:
        campaign: Its own cap, if it has one, replaces the policy's.
        shown_ms: Times of the user's impressions of it.
        reserved: Live reservations of it.
        policy: The default cap.
        now_ms: The span ends here; an impression exactly one span ago still counts.
    """
    cap = campaign.frequency_cap
    impressions = cap.impressions if cap else policy.cap_impressions
    since_ms = now_ms - (cap.span_ms if cap else policy.cap_span_ms)
    return reserved + sum(1 for moment in shown_ms if moment >= since_ms) >= impressions


def _shown_by_campaign(exposures: Exposures) -> Mapping[int, list[int]]:
    shown: dict[int, list[int]] = {}
    for campaign, moment in zip(exposures.campaigns, exposures.shown, strict=True):
        shown.setdefault(campaign, []).append(moment)
    return shown


def _contenders(
    user: AdUser,
    snapshot: CampaignSnapshot,
    response: ResponseModel,
    loss_of: Callable[[CampaignRows], CandidateReason | None],
) -> list[_Contender]:
    """Every campaign, and of those that may take part the best creative; among equal ones the first by crid."""
    if user.scores is None:
        return [
            _Contender(rows, loss_of(rows) or CandidateReason.NO_MODEL, None, None, None)
            for rows in snapshot.rows
        ]
    return [_contender(rows, loss_of(rows), user.scores, user.exposures, response) for rows in snapshot.rows]


def _contender(
    rows: CampaignRows,
    loss: CandidateReason | None,
    scores: Scores,
    exposures: Exposures,
    response: ResponseModel,
) -> _Contender:
    """A campaign that can't take part is not predicted for: with many campaigns most are over or not begun."""
    if loss is not None:
        return _Contender(rows, loss, None, None, None)
    features = response_features(
        scores.interests,
        scores.user_vector,
        scores.user_features,
        exposures.clicks,
        exposures.impressions,
        rows.arrays,
    )
    own: list[float] = np.round(response.predict(features).astype(np.float64), _DECIMALS).tolist()
    best = max(range(len(own)), key=own.__getitem__)
    value = round(rows.campaign.bid_cpm * own[best], _DECIMALS)
    return _Contender(rows, None, rows.creatives[best].crid, own[best], value)


def _explore(
    eligible: Sequence[int], best: int | None, explore_ratio: float, seed: int
) -> tuple[int | None, float]:
    """The index chosen, and the probability of choosing it: epsilon-greedy over the eligible."""
    if best is None:
        return None, 1.0
    share = explore_ratio / len(eligible)
    chosen = best
    if hash64(b"explore" + seed.to_bytes(8, "little")) < explore_ratio * _HASH_RANGE:
        chosen = eligible[hash64(b"pick" + seed.to_bytes(8, "little")) % len(eligible)]
    return chosen, 1.0 - explore_ratio + share if chosen == best else share


def _reason(contender: _Contender, index: int, best: int | None, chosen: int | None) -> CandidateReason:
    if contender.loss is not None:
        return contender.loss
    if index == chosen:
        return CandidateReason.BEST_VALUE if chosen == best else CandidateReason.EXPLORED
    return CandidateReason.EXPLORED_OTHER if index == best else CandidateReason.OUTRANKED


def _candidate(contender: _Contender, reason: CandidateReason) -> Candidate:
    code = NONBID_CODES.get(reason)
    return Candidate(
        cid=contender.rows.campaign.cid,
        crid=contender.crid,
        outcome="won" if code is None else "lost",
        reason=reason,
        statuscode=code,
        price=contender.rows.campaign.bid_cpm,
        predicted_response=contender.response,
        value=contender.value,
    )


def _bid(contender: _Contender) -> Bid:
    campaign = contender.rows.campaign
    assert contender.crid is not None
    return Bid(
        cid=campaign.cid,
        crid=contender.crid,
        seat=campaign.seat,
        adomain=campaign.adomain,
        cat=campaign.cat,
        price=campaign.bid_cpm,
    )
