"""How much each behaviour of the window adds to each interest score, asked of the served head itself.

The head is asked again with a behaviour's share taken out of its inputs (occlusion: Zeiler and Fergus 2014), which needs one
batch per user and no other events. With a small ``step`` the same is the gradient times that share.

Shapes: n behaviours of one window, L interests, H history and U user features, K pooled windows of D dimensions.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.features import (
    HISTORY_FEATURES,
    NEVER_DAYS,
    USER_FEATURES,
    WINDOW_HALF_LIVES_DAYS,
    Floats,
    behaviour_weights,
    history_features,
    user_features,
    window_vectors,
)
from stream.profile import HALF_LIVES_DAYS, PURCHASE_KIND, WEIGHT_BY_KIND
from stream.state import UserState
from stream.window import DAY_MS
from trainer.parity import OnnxModel

_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
_SINCE: Final = HISTORY_FEATURES.index("days_since_purchase")
_GAP: Final = HISTORY_FEATURES.index("mean_gap_days")
_RATIO: Final = HISTORY_FEATURES.index("since_to_gap_ratio")
_MAX_RATIO: Final = 50.0
_MIN_GAP_DAYS: Final = 0.5
_TOTAL: Final = USER_FEATURES.index("decayed_weight_total_56d")
_WINDOW: Final = USER_FEATURES.index("window_behaviours")
_HALF_LIVES: Final = np.array(HALF_LIVES_DAYS, dtype=np.float64)
_LONG: Final = HALF_LIVES_DAYS.index(56)
#: Keeps logits finite.
_EDGE: Final = 1e-7


class Asking(NamedTuple):
    """What a worker asks with: the head, its interests, and when."""

    head: OnnxModel
    row_by_category: Mapping[int, int]
    labels: int
    now_ms: int
    #: Vector [D] by the hash of a text.
    vectors: Mapping[int, Floats]
    dimensions: int


class HeadRows(NamedTuple):
    """Raw inputs of the head, b rows."""

    history: Floats  # [b, L, H]
    user: Floats  # [b, U]
    window: Floats  # [b, K, D]


def raw_inputs(state: UserState, asking: Asking) -> HeadRows:
    """One row, as a worker makes it."""
    vectors = _vectors(state, asking)
    return HeadRows(
        history_features(state, asking.row_by_category, asking.labels, asking.now_ms)[None],
        user_features(state, asking.now_ms)[None],
        window_vectors(state.window, vectors, asking.dimensions, asking.now_ms)[None],
    )


def logits(rows: HeadRows, head: OnnxModel) -> NDArray[np.float64]:
    """Calibrated scores as logits, [b, L]."""
    named = {"HISTORY": rows.history, "USER": rows.user, "WINDOW": rows.window}
    scores = np.clip(head.run(named)["SCORES"].astype(np.float64), _EDGE, 1.0 - _EDGE)
    return np.asarray(np.log(scores / (1.0 - scores)))


def attributions(state: UserState, asking: Asking, step: float = 1.0) -> NDArray[np.float64]:
    """What each behaviour adds to each logit, [n, L].

    Args:
        state: With a window of n behaviours.
        asking: Whom to ask.
        step: How much of a behaviour's share is taken out, 0 to 1; the change is scaled up to the whole.
    """
    whole = raw_inputs(state, asking)
    history, user = _without_each(state, whole, asking)
    window = _windows_without_each(state, asking)
    removed = HeadRows(history, user, window)
    moved = HeadRows(*(full + step * (less - full) for full, less in zip(whole, removed, strict=True)))
    if not len(state.window):
        return np.zeros((0, asking.labels))
    return (logits(whole, asking.head) - logits(moved, asking.head)) / step


def _without_each(state: UserState, whole: HeadRows, asking: Asking) -> tuple[Floats, Floats]:
    """History [n, L, H] and user features [n, U] without each behaviour's share."""
    count = len(state.window)
    history = np.repeat(whole.history, count, axis=0)
    user = np.repeat(whole.user, count, axis=0)
    user[:, _WINDOW] -= 1.0
    behaviours = state.window.behaviours()
    in_event: dict[tuple[bytes, int], int] = {}
    for behaviour in behaviours:
        key = behaviour.event_id, behaviour.category_hash
        in_event[key] = in_event.get(key, 0) + 1
    for number, behaviour in enumerate(behaviours):
        row = asking.row_by_category.get(behaviour.category_hash, -1)
        # One event counts once for a category, however many of its items are of it.
        if row < 0 or in_event[behaviour.event_id, behaviour.category_hash] > 1:
            continue
        age_days = max(asking.now_ms - behaviour.occurred_at_ms, 0) / DAY_MS
        share = WEIGHT_BY_KIND[behaviour.kind] * np.exp2(-age_days / _HALF_LIVES)
        history[number, row, : len(share)] = np.maximum(history[number, row, : len(share)] - share, 0.0)
        user[number, _TOTAL] = max(user[number, _TOTAL] - share[_LONG], 0.0)
        if behaviour.kind == PURCHASE_KIND:
            others = [
                other.occurred_at_ms
                for place, other in enumerate(behaviours)
                if place != number
                and other.kind == PURCHASE_KIND
                and other.category_hash == behaviour.category_hash
            ]
            _forget_purchase(history[number, row], age_days, max(others, default=0), asking.now_ms)
    return history, user


def _forget_purchase(features: Floats, age_days: float, other_ms: int, now_ms: int) -> None:
    """One purchase less: its count, and the days since if it was the last; what the window has forgotten is guessed.

    Args:
        features: [H] of the interest, changed in place.
        age_days: Of the purchase.
        other_ms: Of the latest other one in the window, 0 if there is none.
        now_ms: When.
    """
    features[_PURCHASES] = max(features[_PURCHASES] - 1.0, 0.0)
    if features[_PURCHASES] < 1.0:
        features[_SINCE], features[_GAP], features[_RATIO] = NEVER_DAYS, NEVER_DAYS, _MAX_RATIO
        return
    if age_days > features[_SINCE] + 1e-3:
        return  # a later one stays the last
    since = (now_ms - other_ms) / DAY_MS if other_ms else features[_SINCE] + features[_GAP]
    features[_SINCE] = min(since, NEVER_DAYS)
    if features[_PURCHASES] < 2.0:
        features[_GAP], features[_RATIO] = NEVER_DAYS, _MAX_RATIO
    else:
        features[_RATIO] = min(features[_SINCE] / max(features[_GAP], _MIN_GAP_DAYS), _MAX_RATIO)


def _windows_without_each(state: UserState, asking: Asking) -> Floats:
    """Pooled windows [n, K, D] without each behaviour."""
    given = _vectors(state, asking)
    stacked = np.stack(
        [np.zeros(asking.dimensions, np.float32) if vector is None else vector for vector in given]
        or [np.zeros(asking.dimensions, np.float32)]
    )[: len(given)]
    pooled = []
    for half_life in WINDOW_HALF_LIVES_DAYS:
        weighted = behaviour_weights(state.window, half_life, asking.now_ms)[:, None] * stacked
        left = weighted.sum(axis=0)[None] - weighted
        length = np.linalg.norm(left, axis=1, keepdims=True)
        # What is left of a window of one is rounding.
        pooled.append(np.where(length > 1e-6, left / np.maximum(length, 1e-6), 0.0))
    return np.stack(pooled, axis=1).astype(np.float32)


def _vectors(state: UserState, asking: Asking) -> Sequence[Floats | None]:
    return [asking.vectors.get(text) for text in state.window.texts]
