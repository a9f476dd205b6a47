"""What the interest head is told of a user; the trainer and the worker call these same functions.

Shapes: L interests of the label set, H = 10 history features, U = 11 user features, K = 2 pooled window
vectors of D dimensions. All float32. Everything is computable from one user's state at any moment; whatever is
shared between users (popularity, neighbours, projections) is frozen inside the model version.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.profile import HALF_LIVES_DAYS, WEIGHT_BY_KIND
from stream.state import UserState
from stream.window import DAY_MS, BehaviourWindow

Floats = NDArray[np.float32]

HISTORY_FEATURES: Final = (
    *(f"decayed_weight_{days}d" for days in HALF_LIVES_DAYS),
    "purchases",
    "days_since_purchase",
    "mean_gap_days",
    "since_to_gap_ratio",
)
USER_FEATURES: Final = (
    *(f"decayed_orders_{days}d" for days in HALF_LIVES_DAYS),
    "days_since_order",
    "days_since_first_seen",
    "purchased_categories",
    "decayed_weight_total_56d",
    "window_behaviours",
)
#: Half-lives of the pooled window vectors: what the user is at now, and lately.
WINDOW_HALF_LIVES_DAYS: Final = (2.0, 14.0)

_HALF_LIVES: Final = np.array(HALF_LIVES_DAYS, dtype=np.float64)
_DAY_SECONDS: Final = 86_400.0
#: Stands for "never" in day features: longer than any history that the model was trained on.
NEVER_DAYS: Final = 400.0
_MAX_RATIO: Final = 50.0
#: A gap shorter than half a day is one shopping trip.
_MIN_GAP_DAYS: Final = 0.5


def history_features(
    state: UserState, row_by_category: Mapping[int, int], labels: int, now_ms: int
) -> Floats:
    """Per-interest history, [L, H] in the order of ``HISTORY_FEATURES``; rows never met say so.

    Args:
        state: The user's state.
        row_by_category: Row of each interest by its category hash.
        labels: L.
        now_ms: The moment of the question, at or after the last applied event.
    """
    features = np.zeros((labels, len(HISTORY_FEATURES)), dtype=np.float32)
    features[:, 7:9] = NEVER_DAYS
    features[:, 9] = _MAX_RATIO
    profile = state.profile
    rows = [row_by_category.get(category, -1) for category in profile.categories]
    kept = np.flatnonzero(np.array(rows, dtype=np.int64) >= 0)
    if kept.size == 0:
        return features
    target = np.array(rows, dtype=np.int64)[kept]
    now = now_ms / 1000.0
    age_days = np.maximum(now - np.array(profile.reference, dtype=np.float64)[kept], 0.0) / _DAY_SECONDS
    weights = np.array(profile.weights, dtype=np.float64).reshape(-1, len(HALF_LIVES_DAYS))[kept]
    features[target, :6] = np.maximum(weights * np.exp2(-age_days[:, None] / _HALF_LIVES), 0.0)
    purchases = np.array(profile.purchases, dtype=np.float64)[kept]
    last = np.array(profile.last, dtype=np.float64)[kept]
    first = np.array(profile.first, dtype=np.float64)[kept]
    since = np.where(purchases > 0, np.clip((now - last) / _DAY_SECONDS, 0.0, NEVER_DAYS), NEVER_DAYS)
    repeated = purchases > 1
    gap = np.where(repeated, (last - first) / _DAY_SECONDS / np.maximum(purchases - 1, 1), NEVER_DAYS)
    ratio = np.where(repeated, np.minimum(since / np.maximum(gap, _MIN_GAP_DAYS), _MAX_RATIO), _MAX_RATIO)
    features[target, 6] = purchases
    features[target, 7] = since
    features[target, 8] = gap
    features[target, 9] = ratio
    return features


def user_features(state: UserState, now_ms: int) -> Floats:
    """What a user is like as a whole, [U] in the order of ``USER_FEATURES``."""
    orders, profile = state.orders, state.profile
    now = now_ms / 1000.0
    features = np.zeros(len(USER_FEATURES), dtype=np.float32)
    age_days = max(now - orders.reference, 0.0) / _DAY_SECONDS
    features[:6] = np.array(orders.weights, dtype=np.float64) * np.exp2(-age_days / _HALF_LIVES)
    features[6] = min(max(now - orders.last, 0.0) / _DAY_SECONDS, NEVER_DAYS) if orders.count else NEVER_DAYS
    features[7] = (
        min(max(now - orders.first_seen, 0.0) / _DAY_SECONDS, NEVER_DAYS) if orders.first_seen else 0.0
    )
    features[8] = sum(1 for purchases in profile.purchases if purchases)
    if len(profile):
        weights = np.array(profile.weights, dtype=np.float64).reshape(-1, len(HALF_LIVES_DAYS))[:, 3]
        ages = np.maximum(now - np.array(profile.reference, dtype=np.float64), 0.0) / _DAY_SECONDS
        features[9] = np.maximum(weights * np.exp2(-ages / HALF_LIVES_DAYS[3]), 0.0).sum()
    features[10] = len(state.window)
    return features


def behaviour_weights(window: BehaviourWindow, half_life_days: float, now_ms: int) -> Floats:
    """The share of each behaviour of the window in a pooled vector before normalising, [len(window)]."""
    acted = np.array([WEIGHT_BY_KIND[kind] for kind in window.kinds], dtype=np.float64)
    age_days = np.maximum(now_ms - np.array(window.occurred, dtype=np.float64), 0.0) / DAY_MS
    return np.asarray(acted * np.exp2(-age_days / half_life_days), dtype=np.float32)


def window_vectors(
    window: BehaviourWindow, vectors: Sequence[Floats | None], dimensions: int, now_ms: int
) -> Floats:
    """The window's text vectors pooled at each half-life, [K, D]; rows have length 1, or 0 where nothing is known.

    Args:
        window: Behaviours, oldest first.
        vectors: For each behaviour its text's unit vector [D], or None if it is not known.
        dimensions: D.
        now_ms: The moment of the question.
    """
    pooled = np.zeros((len(WINDOW_HALF_LIVES_DAYS), dimensions), dtype=np.float32)
    known = [row for row, vector in enumerate(vectors) if vector is not None]
    if not known:
        return pooled
    stacked = np.stack([vector for vector in vectors if vector is not None])
    for index, half_life in enumerate(WINDOW_HALF_LIVES_DAYS):
        pooled[index] = behaviour_weights(window, half_life, now_ms)[known] @ stacked
        length = float(np.linalg.norm(pooled[index]))
        if length > 0.0:
            pooled[index] /= length
    return pooled


def profile_scores(history: Floats) -> Floats:
    """Scores [L] from the counts alone, for when no model answers.

    A decayed weight at half-life 28 days estimates a rate; a Poisson process of that rate buys within the next
    28 days with probability 1 - 2^-weight.
    """
    return np.asarray(1.0 - np.exp2(-history[:, 2]), dtype=np.float32)
