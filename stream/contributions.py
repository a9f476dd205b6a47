"""Which behaviours moved a user's top interests: what an update says for itself.

An attribution by weight and likeness, not a derivative: a behaviour counts for an interest by what it weighs
(action, recency) times how much it is about the interest (1 for its own category, else the squared cosine of its
text with the interest's name).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from stream.features import Floats, behaviour_weights
from stream.window import BehaviourWindow

#: Beyond a fortnight a behaviour is history, not what moved an update.
_HALF_LIFE_DAYS: Final = 2.0


class Contribution(NamedTuple):
    """One behaviour's share in the top interests."""

    row: int
    #: Index into the given interests that it moved most.
    interest: int
    #: Of all that the window contributes, 0 to 1.
    share: float


class TopInterests(NamedTuple):
    """The interests that are explained: K of them."""

    categories: Sequence[int]
    vectors: Floats
    """[K, D]"""
    scores: Floats
    """[K]"""


def contributions(
    window: BehaviourWindow, vectors: Sequence[Floats | None], top: TopInterests, now_ms: int, most: int
) -> list[Contribution]:
    """The behaviours that contribute most, greatest first, one per event.

    Args:
        window: The user's behaviours.
        vectors: For each its text's unit vector [D], or None.
        top: What is explained.
        now_ms: The moment of the scores.
        most: How many at the most.
    """
    count = len(window)
    if not count or not len(top.scores):
        return []
    weights = np.abs(behaviour_weights(window, _HALF_LIFE_DAYS, now_ms))
    likeness = np.zeros((count, len(top.scores)), dtype=np.float32)
    known = [row for row, vector in enumerate(vectors) if vector is not None]
    if known:
        stacked = np.stack([vector for vector in vectors if vector is not None])
        likeness[known] = np.square(np.maximum(stacked @ top.vectors.T, 0.0))
    own = (
        np.array(window.categories, dtype=np.uint64)[:, None]
        == np.array(top.categories, dtype=np.uint64)[None]
    )
    likeness[own] = 1.0
    shares = weights[:, None] * likeness * top.scores[None]
    total = float(shares.sum())
    if total <= 0.0:
        return []
    return _one_per_event(window, shares / total, most)


def _one_per_event(window: BehaviourWindow, shares: Floats, most: int) -> list[Contribution]:
    by_behaviour = shares.sum(axis=1)
    chosen: dict[bytes, Contribution] = {}
    for row in np.argsort(-by_behaviour, kind="stable").tolist():
        if by_behaviour[row] <= 0.0 or len(chosen) == most:
            break
        event_id = window.event_ids[row]
        if event_id not in chosen:
            chosen[event_id] = Contribution(row, int(shares[row].argmax()), float(by_behaviour[row]))
    return list(chosen.values())
