"""The contract of ``ads.decisions``: one decision with its whole reason trail, in the names of OpenRTB 2.6.

Key: the user id. ``decision_id`` is the same whenever the same (user, revision, request) is decided again.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal
from uuid import UUID, uuid5

import orjson
from pydantic import BaseModel, ConfigDict, Field

from stream.hashing import hash64

ScoreSource = Literal["model", "cached", "profile", "none"]


class CandidateReason(StrEnum):
    """Why a campaign won or lost; the label of the counter of losses."""

    BEST_VALUE = "best_value"
    EXPLORED = "explored"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    PAUSED = "paused"
    CATEGORY_BLOCKED = "category_blocked"
    SENSITIVE = "sensitive"
    NO_CONSENT = "no_consent"
    FREQUENCY_CAP = "frequency_cap"
    BELOW_FLOOR = "below_floor"
    NO_MODEL = "no_model"
    OUTRANKED = "outranked"
    EXPLORED_OTHER = "explored_other"


#: Status codes of OpenRTB's community extension seat-non-bid; from 500 on they are ours.
NONBID_CODES: Final[dict[CandidateReason, int]] = {
    CandidateReason.BELOW_FLOOR: 301,
    CandidateReason.CATEGORY_BLOCKED: 303,  # in the extension 303 is an invalid mapping, 357 an exclusion
    CandidateReason.FREQUENCY_CAP: 500,
    CandidateReason.NOT_STARTED: 501,
    CandidateReason.ENDED: 502,
    CandidateReason.PAUSED: 503,
    CandidateReason.OUTRANKED: 504,
    CandidateReason.NO_MODEL: 505,
    CandidateReason.EXPLORED_OTHER: 506,
    CandidateReason.SENSITIVE: 507,
    CandidateReason.NO_CONSENT: 508,
}

#: Arbitrary; a change of it would change every id.
_NAMESPACE: Final = UUID("9d0f3a1e-6a55-5c0e-9a43-5b1f6c8f2d77")
_OUT: Final = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Impression(BaseModel):
    """The place that is decided on; ``bidfloor`` is a CPM in ``bidfloorcur``."""

    model_config = _OUT

    id: str
    bidfloor: Annotated[float, Field(ge=0.0)]
    bidfloorcur: Annotated[str, Field(min_length=3, max_length=3)]


class Bid(BaseModel):
    """What won; ``price`` is a CPM in ``bidfloorcur``."""

    model_config = _OUT

    cid: str
    crid: str
    seat: str
    adomain: list[str]
    cat: list[str]
    price: float


class Candidate(BaseModel):
    """One campaign's part in the decision.

    ``crid`` is its best creative for this user, ``predicted_response`` the probability that the user answers it,
    ``value`` what is ranked: price times predicted response. The three are null for a campaign that could not take
    part, and if there were no scores.
    ``statuscode`` says a loss as OpenRTB's seat-non-bid does and is null for the winner.
    """

    model_config = _OUT

    cid: str
    crid: str | None
    outcome: Literal["won", "lost"]
    reason: CandidateReason
    statuscode: int | None
    price: float
    predicted_response: _Probability | None
    value: float | None


class ModelVersion(BaseModel):
    """Which model the scores came from, and which versions were at work: ``role`` is that of this one."""

    model_config = _OUT

    name: str
    version: str
    role: Literal["champion", "challenger"]
    champion: str
    challenger: str | None


class AdDecision(BaseModel):
    """Which ad to show to a user and why, or why none.

    ``propensity`` is the probability with which exactly this outcome was chosen. ``candidates`` has every
    campaign known at the time once, by cid. Ad events refer back by ``decision_id``.
    """

    model_config = _OUT

    decision_id: str
    user_id: str
    revision: Annotated[int, Field(ge=0)]
    request_id: str
    decided_at_ms: int
    imp: Impression
    bid: Bid | None
    candidates: list[Candidate]
    propensity: Annotated[float, Field(gt=0.0, le=1.0)]
    source: ScoreSource
    model: ModelVersion | None

    def to_bytes(self) -> bytes:
        """The record's value: JSON in UTF-8."""
        return self.model_dump_json().encode()


def decision_id(user_id: str, revision: int, request_id: str) -> str:
    """The id of the decision for this user at this revision and request, as a UUID."""
    return str(uuid5(_NAMESPACE, orjson.dumps([user_id, revision, request_id]).decode()))


def decision_hash(decision_id: str) -> int:
    """The key that a decision's reservation is kept under, and the seed of its exploration."""
    return hash64(b"decision:" + decision_id.encode())
