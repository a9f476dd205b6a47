"""Figures over several cutoffs of the same households, and intervals that draw a household with all of its cutoffs.

One cutoff of some 700 households can't tell a difference of .005. The cutoffs' labels overlap and a household resembles
itself, so rows are not independent: a draw takes or leaves a household at every cutoff together.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.ranking import (
    Question,
    Ranking,
    Scores,
    auc,
    auc_by_interest,
    calibration_error,
    drawn_auc_by_interest,
    rank,
)

_NDCG_DRAWS: Final = 2000
_AUC_DRAWS: Final = 500
_PERCENTILES: Final = (2.5, 97.5)


class Asked(NamedTuple):
    """One cutoff of one variant."""

    households: NDArray[np.int64]  # [n], the same number at every cutoff for the same household
    question: Question


def measure(
    cutoffs: Sequence[Asked], scores: Sequence[Scores], *, probabilities: bool
) -> dict[str, float | None]:
    """All figures of one model in one variant; of a shop that is too small for one it is NaN.

    NDCG@10, recall@10, micro AUC and the calibration error are over the rows of all cutoffs. Macro AUC is taken at each
    cutoff and averaged, so that it compares households of one day only.

    Args:
        cutoffs: What is asked.
        scores: Per cutoff [n, L].
        probabilities: Whether the scores are; others have no calibration error.
    """
    pairs = list(zip(scores, (cutoff.question for cutoff in cutoffs), strict=True))
    rankings = [rank(*pair) for pair in pairs]
    asked = [question.candidates & question.active[:, None] for _, question in pairs]
    said = np.concatenate([given[mask] for (given, _), mask in zip(pairs, asked, strict=True)])
    outcomes = np.concatenate(
        [question.bought[mask] for (_, question), mask in zip(pairs, asked, strict=True)]
    )
    return {
        "ndcg10": _mean([ranking.ndcg for ranking in rankings]),
        "recall10": _mean([ranking.recall for ranking in rankings]),
        "macro_auc": _mean([np.array([_mean([auc_by_interest(*pair)])]) for pair in pairs]),
        "micro_auc": auc(said, outcomes),
        "ece": calibration_error(said, outcomes) if probabilities else None,
    }


def ndcg_interval(
    ours: Sequence[Scores], theirs: Sequence[Scores], cutoffs: Sequence[Asked], seed: int = 0
) -> list[float]:
    """95 % interval of the difference in mean NDCG@10, households drawn with replacement."""
    rows, differences = [], []
    for cutoff, our, their in zip(cutoffs, ours, theirs, strict=True):
        ranking: Ranking = rank(our, cutoff.question)
        rows.append(cutoff.households[ranking.rows])
        differences.append(ranking.ndcg - rank(their, cutoff.question).ndcg)
    _, places = np.unique(np.concatenate(rows), return_inverse=True)
    totals = np.bincount(places, np.concatenate(differences))
    counts = np.bincount(places)
    if not len(totals):
        return [np.nan, np.nan]
    drawn = household_draws(len(totals), _NDCG_DRAWS, seed)
    return middle_95((drawn @ totals) / (drawn @ counts))


def auc_interval(
    ours: Sequence[Scores],
    theirs: Sequence[Scores],
    cutoffs: Sequence[Asked],
    draws: int = _AUC_DRAWS,
    seed: int = 0,
) -> list[float]:
    """95 % interval of the difference in macro AUC, households drawn with replacement."""
    drawn = [drawn_macro_auc(scores, cutoffs, draws, seed) for scores in (ours, theirs)]
    return middle_95(drawn[0] - drawn[1])


def drawn_macro_auc(
    scores: Sequence[Scores], cutoffs: Sequence[Asked], draws: int = _AUC_DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Macro AUC under each draw of households with replacement, [draws]; equal seeds draw the same ones.

    Which interests count under a draw does not depend on the scores, so differences of two models' are of the same interests.
    """
    known = np.unique(np.concatenate([cutoff.households for cutoff in cutoffs]))
    drawn = household_draws(len(known), draws, seed)
    found = []
    for cutoff, given in zip(cutoffs, scores, strict=True):
        times = drawn[:, np.searchsorted(known, cutoff.households)]
        by_interest = drawn_auc_by_interest(given, cutoff.question, times)
        if len(by_interest):
            counted = (~np.isnan(by_interest)).sum(axis=0)
            no_mean = np.full(draws, np.nan)
            found.append(np.divide(np.nansum(by_interest, axis=0), counted, out=no_mean, where=counted > 0))
    return np.asarray(np.mean(found, axis=0)) if found else np.full(draws, np.nan)


def household_draws(count: int, draws: int, seed: int) -> NDArray[np.int64]:
    """How often each of ``count`` households is in each draw, [draws, count]."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=draws)


def middle_95(values: NDArray[Any]) -> list[float]:
    """Where the middle 95 % of the draws lie, [low, high]."""
    if np.isnan(values).all():
        return [np.nan, np.nan]
    low, high = np.nanpercentile(values, _PERCENTILES)
    return [float(low), float(high)]


def _mean(values: Sequence[NDArray[np.float64]]) -> float:
    """The mean of what is a number; NaN if nothing is."""
    numbers = np.concatenate(values)
    numbers = numbers[~np.isnan(numbers)]
    return float(numbers.mean()) if numbers.size else float("nan")
