"""Attributions held against leaving each behaviour out, by rank correlation.

Shapes: n behaviours of one window, L interests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from stream.contributions import TopInterests, contributions
from stream.state import UserState
from trainer.explain.attribution import Asking, attributions, logits, raw_inputs
from trainer.explain.refold import Refolder, Step, without
from trainer.pooling import household_draws, middle_95
from trainer.tables import Matrix

#: The file of figures in the work directory, which an evaluation report takes in.
EXPLAIN: Final = "explain"
#: A correlation of fewer behaviours is mostly luck.
MIN_BEHAVIOURS: Final = 5
_DRAWS: Final = 2000
#: Small enough for a derivative, large enough for float32.
_GRADIENT_STEP: Final = 0.02
_FLAT: Final = 1e-9


@dataclass(frozen=True, slots=True)
class CheckSize:
    """How much is checked."""

    users: int = 100
    #: The highest scores of each user.
    interests: int = 3
    seed: int = 0


class Explained(NamedTuple):
    """One score of one user with what each behaviour adds to it, by method; NaN where a method says nothing."""

    user: int
    interest: int
    left_out: NDArray[np.float64]  # [n], change of the logit when the behaviour is really left out
    by_method: Mapping[str, NDArray[np.float64]]  # [n]


def explain_user(
    user: int, steps: Sequence[Step], refolder: Refolder, asking: Asking, names: Matrix, interests: int
) -> list[Explained]:
    """The user's highest scores, explained by each method and by leaving out.

    Args:
        user: A number for the user.
        steps: All events of the user up to now.
        refolder: Folds them.
        asking: The head.
        names: Vectors [L, D] of the interests' names.
        interests: How many scores.
    """
    state = refolder.fold(steps)
    behaviours = state.window.behaviours()
    if len(behaviours) < MIN_BEHAVIOURS:
        return []
    whole = logits(raw_inputs(state, asking), asking.head)[0]
    left = [raw_inputs(refolder.fold(without(steps, behaviour)), asking) for behaviour in behaviours]
    changes = whole - np.concatenate([logits(rows, asking.head) for rows in left])
    occluded = attributions(state, asking)
    gradient = attributions(state, asking, _GRADIENT_STEP)
    category_of = {row: category for category, row in asking.row_by_category.items()}
    return [
        Explained(
            user,
            row,
            changes[:, row],
            {
                "occlusion": occluded[:, row],
                "gradient": gradient[:, row],
                "update": _in_updates(
                    state,
                    asking,
                    TopInterests([category_of[row]], names[[row]], np.ones(1, dtype=np.float32)),
                ),
            },
        )
        for row in np.argsort(-whole, kind="stable")[:interests].tolist()
    ]


def _in_updates(state: UserState, asking: Asking, top: TopInterests) -> NDArray[np.float64]:
    """The shares that an interest update states, one behaviour per event."""
    shares = np.full(len(state.window), np.nan)
    vectors = [asking.vectors.get(text) for text in state.window.texts]
    for found in contributions(state.window, vectors, top, asking.now_ms, len(state.window)):
        shares[found.row] = found.share
    return shares


def summary(explained: Sequence[Explained]) -> dict[str, Any]:
    """By method: mean rank correlation with leaving out, its interval over users, sample sizes, agreement on the top."""
    methods = explained[0].by_method if explained else {}
    return {method: _agreement(explained, method) for method in methods}


def _agreement(explained: Sequence[Explained], method: str) -> dict[str, Any]:
    users, correlations, tops, behaviours = [], [], [], 0
    for one in explained:
        said = one.by_method[method]
        known = ~np.isnan(said)
        theirs, ours = one.left_out[known], said[known]
        if known.sum() < MIN_BEHAVIOURS or np.ptp(theirs) < _FLAT or np.ptp(ours) < _FLAT:
            continue
        users.append(one.user)
        correlations.append(float(spearmanr(ours, theirs).statistic))
        tops.append(bool(ours.argmax() == theirs.argmax()))
        behaviours += int(known.sum())
    if not users:
        return {"scores": 0, "users": 0, "behaviours": 0}
    _, places = np.unique(users, return_inverse=True)
    totals, counts = np.bincount(places, correlations), np.bincount(places)
    drawn = household_draws(len(totals), _DRAWS, seed=0)
    return {
        "spearman": float(np.mean(correlations)),
        "spearman_ci": middle_95((drawn @ totals) / (drawn @ counts)),
        "same_top": float(np.mean(tops)),
        "scores": len(correlations),
        "users": len(totals),
        "behaviours": behaviours,
    }
