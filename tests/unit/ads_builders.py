"""What the tests of ad decisions are built from: two interests, a user who likes cheese, campaigns for it."""

from typing import Any

import numpy as np

from stream.ads.campaign import Campaign, Creative
from stream.ads.decide import AdPolicy, AdRequest, AdUser, Decided, Scores, decide
from stream.ads.decision import AdDecision, ModelVersion
from stream.ads.reservations import Reservations
from stream.ads.response import ResponseModel
from stream.ads.snapshot import CampaignSnapshot, InterestRows
from stream.exposure import Exposures, campaign_hash
from stream.features import USER_FEATURES
from stream.render import category_hash

HOUR_MS = 3_600_000
NOW_MS = 1_500_000_000_000
INTERESTS = InterestRows(
    {category_hash("cheese"): 0, category_hash("wine"): 1},
    np.array([[1.0, 0.0], [0.0, 1.0]], np.float32),
)
#: Predicts the interest score itself: the logit of the score, undone.
MIRROR = ResponseModel([1.0, 0.0, 0.0, 0.0, 0.0], 0.0)


def campaign(cid: str, **changes: Any) -> Campaign:
    fields: dict[str, Any] = {
        "cid": cid,
        "name": cid,
        "seat": "shop",
        "adomain": ["shop.example"],
        "cat": ["IAB8-1"],
        "starts_at_ms": NOW_MS - HOUR_MS,
        "ends_at_ms": NOW_MS + HOUR_MS,
        "status": "active",
        "bid_cpm": 2.0,
        "creatives": [Creative(crid=f"{cid}-cheese", title="", categories=["cheese"])],
    }
    return Campaign(**fields | changes)


def wine(crid: str) -> Creative:
    return Creative(crid=crid, title="", categories=["wine"])


def cheese(crid: str) -> Creative:
    return Creative(crid=crid, title="", categories=["cheese"])


def exposures(*cids: str, shown_ms: int = NOW_MS - 1) -> Exposures:
    seen = Exposures()
    for cid in cids:
        seen.show(campaign_hash(cid), shown_ms)
    return seen


def user(**changes: Any) -> AdUser:
    """Likes cheese at 0.5 and wine at 0.25."""
    scores = Scores(
        np.array([0.5, 0.25], np.float32),
        np.zeros(2, np.float32),
        np.zeros(len(USER_FEATURES), np.float32),
        "model",
        ModelVersion(name="interest_head", version="1", role="champion", champion="1", challenger=None),
    )
    fields: dict[str, Any] = {
        "user_id": "u1",
        "revision": 7,
        "exposures": Exposures(),
        "reservations": Reservations(),
        "scores": scores,
    }
    return AdUser(**fields | changes)


def decided(
    *campaigns: Campaign,
    of: AdUser | None = None,
    policy: AdPolicy | None = None,
    request: AdRequest | None = None,
    interests: InterestRows = INTERESTS,
) -> Decided:
    return decide(
        of or user(),
        CampaignSnapshot.build(campaigns, interests, {}),
        MIRROR,
        policy or AdPolicy(),
        NOW_MS,
        request or AdRequest("r"),
    )


def reasons(decision: AdDecision) -> dict[str, tuple[str, str, int | None]]:
    return {one.cid: (one.outcome, one.reason.value, one.statuscode) for one in decision.candidates}
