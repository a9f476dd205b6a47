"""The output contract ``interest.updates``: what a user wants now, how sure, since when, and what moved it."""

from hashlib import blake2b
from typing import Final, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stream.consent import PERSONALISED_ADS
from stream.contributions import Contribution
from stream.events import EVENT_TYPES
from stream.features import Floats
from stream.model.repository import ModelBundle
from stream.rollout import ModelNames, Role
from stream.state import UserState

SCHEMA_VERSION: Final = "1.0"
#: Scores are probabilities of a purchase within this time.
HORIZON_DAYS: Final = 28
#: Our taxonomies are vendor-specific: IAB Tech Lab keeps segtax 500 and above for those.
SEGTAX: Final = 501
#: Half of the confidence is reached with this many behaviours and orders known of a user.
_HALF_CONFIDENCE: Final = 8.0

Rows = NDArray[np.intp]
Source = Literal["model", "cached", "profile", "none"]
Segment = Literal["ready", "active", "dormant", "unknown"]
_CONTRACT: Final = ConfigDict(frozen=True, extra="forbid")


class InterestScore(BaseModel):
    """One interest of the user."""

    model_config = _CONTRACT

    interest_id: str
    name: str
    #: Calibrated probability of a purchase from it within ``horizon_days``.
    score: float
    #: Against the last update from a model; null in the first.
    delta: float | None
    #: How much is known of the user, 0 to 1; not of the interest.
    confidence: float


class MovedBy(BaseModel):
    """A behaviour that contributed to the update."""

    model_config = _CONTRACT

    event_id: str
    event_type: str
    occurred_at_ms: int
    interest_id: str
    share: float


class PurchaseIntent(BaseModel):
    """Probability of any purchase within so many days."""

    model_config = _CONTRACT

    within_1d: float
    within_3d: float
    within_7d: float


class UpdateModel(BaseModel):
    """Which model version the scores are of."""

    model_config = _CONTRACT

    name: str
    version: str
    encoder_version: str
    label_set_hash: str
    #: What this version was: the champion, or a challenger that is tried on a share of the users.
    role: Role
    champion: str
    challenger: str | None


class InterestUpdate(BaseModel):
    """A user's interests after a change; key = user id, compacted. A tombstone says: forget this user."""

    model_config = _CONTRACT

    schema_version: str = SCHEMA_VERSION
    update_id: str
    user_id: str
    revision: int
    event_time_ms: int
    emitted_at_ms: int
    source: Source
    model: UpdateModel | None
    taxonomy: str
    horizon_days: int = HORIZON_DAYS
    half_life_days: float
    interests: list[InterestScore]
    purchase_intent: PurchaseIntent | None
    segment: Segment
    moved_by: list[MovedBy]
    #: Share of the behaviours in the window whose text the encoder reads, 0 to 1; below a half the scores lean on
    #: history: names were only emoji, or in a script that it was not trained on.
    text_coverage: float
    #: TCF purposes that the user allows: use it for no other. 4 personalised ads, 5 and 6 personalised content.
    purposes: list[int]
    #: The same for ad systems: OpenRTB 2.6 ``user.data``; without segments unless purpose 4 is allowed.
    user: dict[str, object]

    def to_bytes(self) -> bytes:
        """The record's value."""
        return orjson.dumps(self.model_dump())


class UpdateParts(NamedTuple):
    """What an update is made of."""

    user_id: str
    request: str
    """Tells apart the updates of one revision."""
    state: UserState
    scores: Floats
    """[L]"""
    previous: Floats | None
    """[L], or None before the first update of this label set."""
    intent: Floats | None
    top: Rows
    """Rows of the top interests, best first."""
    moved_by: list[Contribution]
    source: Source
    emitted_at_ms: int
    names: ModelNames
    purposes: list[int]
    """TCF purposes that the user allows."""
    text_coverage: float = 1.0


def top_rows(scores: Floats, most: int) -> Rows:
    """Rows of the highest scores, best first; equal ones in row order."""
    return np.argsort(-scores, kind="stable")[:most]


def is_news(scores: Floats, previous: Floats | None, most: int, threshold: float) -> bool:
    """Whether a top interest, now or before, moved by at least the threshold; the first scores always are news."""
    if previous is None:
        return True
    rows = np.union1d(top_rows(scores, most), top_rows(previous, most))
    return bool(np.abs(scores[rows] - previous[rows]).max(initial=0.0) >= threshold)


def update_id(user_id: str, revision: int, request: str, version: str) -> str:
    """The same for a repeat of the same update, different for any other."""
    content = f"{user_id}\0{revision}\0{request}\0{version}".encode()
    return blake2b(content, digest_size=16).hexdigest()


def build_update(parts: UpdateParts, bundle: ModelBundle) -> InterestUpdate:
    """The update of one user."""
    state = parts.state
    confidence = _confidence(state)
    rows = parts.top.tolist()
    interests = [
        InterestScore.model_construct(
            interest_id=bundle.interests[row].id,
            name=bundle.interests[row].name,
            score=_rounded(parts.scores[row]),
            delta=None if parts.previous is None else _rounded(parts.scores[row] - parts.previous[row]),
            confidence=confidence,
        )
        for row in rows
    ]
    return InterestUpdate.model_construct(
        update_id=update_id(parts.user_id, state.revision, parts.request, bundle.head.version),
        user_id=parts.user_id,
        revision=state.revision,
        event_time_ms=state.folded_at_ms,
        emitted_at_ms=parts.emitted_at_ms,
        source=parts.source,
        model=_model(bundle, parts.names) if parts.source in ("model", "cached") else None,
        taxonomy=bundle.taxonomy,
        half_life_days=float(bundle.half_life_days or HORIZON_DAYS),
        interests=interests,
        purchase_intent=_intent(parts.intent),
        segment=_segment(parts.intent),
        moved_by=[_moved_by(state, entry, interests) for entry in parts.moved_by],
        text_coverage=round(parts.text_coverage, 3),
        purposes=parts.purposes,
        user=_openrtb(bundle, interests if PERSONALISED_ADS in parts.purposes else []),
    )


def _rounded(value: np.float32) -> float:
    return round(float(value), 5)


def _confidence(state: UserState) -> float:
    known = len(state.window) + state.orders.count
    return round(known / (known + _HALF_CONFIDENCE), 3)


def _model(bundle: ModelBundle, names: ModelNames) -> UpdateModel:
    return UpdateModel.model_construct(
        name=bundle.head.name,
        version=bundle.head.version,
        encoder_version=bundle.encoder_version,
        label_set_hash=bundle.label_set_hash,
        role=names.role,
        champion=names.champion,
        challenger=names.challenger,
    )


def _intent(intent: Floats | None) -> PurchaseIntent | None:
    if intent is None:
        return None
    within_1d, within_3d, within_7d = (_rounded(value) for value in intent)
    return PurchaseIntent.model_construct(within_1d=within_1d, within_3d=within_3d, within_7d=within_7d)


def _segment(intent: Floats | None) -> Segment:
    """By the intent to buy anything: likely within a day, likely within a week, or neither."""
    if intent is None:
        return "unknown"
    if intent[0] >= 0.5:
        return "ready"
    return "active" if intent[2] >= 0.5 else "dormant"


def _moved_by(state: UserState, entry: Contribution, interests: list[InterestScore]) -> MovedBy:
    behaviour = state.window.behaviour(entry.row)
    return MovedBy.model_construct(
        event_id=behaviour.event_id.decode(errors="replace"),
        event_type=EVENT_TYPES[behaviour.kind],
        occurred_at_ms=behaviour.occurred_at_ms,
        interest_id=interests[entry.interest].interest_id,
        share=round(entry.share, 4),
    )


def _openrtb(bundle: ModelBundle, interests: list[InterestScore]) -> dict[str, object]:
    segments = [
        {"id": item.interest_id, "name": item.name, "value": f"{item.score:.5f}"} for item in interests
    ]
    data = {
        "name": "interestflow",
        "segment": segments,
        "ext": {"segtax": SEGTAX, "taxonomy": bundle.taxonomy},
    }
    return {"data": [data]}
