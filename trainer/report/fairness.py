"""Whether the head serves groups of households alike: order and calibration by group, with household intervals."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.evaluate import MODEL, Scores
from trainer.gates import FAIRNESS_TOLERANCE, surely_off_zero
from trainer.pooling import Asked, household_draws, middle_95
from trainer.ranking import auc, calibration_error, rank
from trainer.report.scored import Scored, among, pooled

#: Smaller groups are counted and not judged: an interval of so few households says nothing.
MIN_HOUSEHOLDS: Final = 20
_DRAWS: Final = 2000

#: By attribute, the group of each household of the samples in row order; empty where nothing is known.
Groups = Mapping[str, Sequence[str]]


def fairness(scored: Scored, groups: Groups) -> dict[str, Any]:
    """Figures of *all* by attribute and group, and the gate.

    Args:
        scored: The rows.
        groups: Who belongs where.

    Returns:
        ``{"attributes": {attribute: [group's figures]}, "failed": [...], "ok": bool}``; a group's gap is its mean score minus
        the share that came true, over households and interests, and fails where the whole 95 % interval is more than
        ``FAIRNESS_TOLERANCE`` from zero.
    """
    cutoffs = scored.asked("all")
    attributes = {
        attribute: [
            {"group": group, **_figures(_members(cutoffs, np.array(of), group), scored.scores[MODEL])}
            for group in sorted({name for name in of if name})
        ]
        for attribute, of in groups.items()
    }
    failed = [
        f"{attribute} {row['group']}"
        for attribute, rows in attributes.items()
        for row in rows
        if row.get("ok") is False
    ]
    return {"attributes": attributes, "failed": failed, "ok": not failed}


def _members(cutoffs: Sequence[Asked], of: NDArray[np.str_], group: str) -> list[Asked]:
    return among(cutoffs, lambda number: np.asarray(of[cutoffs[number].households] == group))


def _figures(cutoffs: Sequence[Asked], scores: Sequence[Scores]) -> dict[str, Any]:
    households = np.concatenate([cutoff.households[cutoff.question.active] for cutoff in cutoffs])
    count = len(np.unique(households))
    rankings = [rank(given, cutoff.question) for given, cutoff in zip(scores, cutoffs, strict=True)]
    if count < MIN_HOUSEHOLDS or not any(len(found.rows) for found in rankings):
        return {"households": count}
    said, bought = pooled(cutoffs, scores)
    excess = [
        (given - cutoff.question.bought).mean(axis=1)[cutoff.question.active]
        for given, cutoff in zip(scores, cutoffs, strict=True)
    ]
    ranked = [cutoff.households[found.rows] for cutoff, found in zip(cutoffs, rankings, strict=True)]
    gap, gap_ci = _mean_interval(households, np.concatenate(excess))
    ndcg, ndcg_ci = _mean_interval(np.concatenate(ranked), np.concatenate([r.ndcg for r in rankings]))
    return {
        "households": count,
        "ndcg10": ndcg,
        "ndcg10_ci": ndcg_ci,
        "micro_auc": auc(said, bought),
        "ece": calibration_error(said, bought),
        "calibration_gap": gap,
        "calibration_gap_ci": gap_ci,
        "ok": surely_off_zero(gap_ci) <= FAIRNESS_TOLERANCE,
    }


def _mean_interval(
    households: NDArray[np.int64], values: NDArray[np.floating[Any]]
) -> tuple[float, list[float]]:
    """Mean over rows, and its interval when households are drawn with all of their rows."""
    _, places = np.unique(households, return_inverse=True)
    totals, counts = np.bincount(places, values), np.bincount(places)
    drawn = household_draws(len(totals), _DRAWS, seed=0)
    return float(values.mean()), middle_95((drawn @ totals) / (drawn @ counts))
