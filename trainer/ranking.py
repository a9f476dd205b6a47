"""How good an order of interests is: NDCG@10, recall@10, AUC, calibration.

Shapes: n households, L interests. Full ranking over the candidates, no sampled negatives.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Flags = NDArray[np.bool_]

_DEPTH: Final = 10
#: An interest with fewer buyers or fewer others has no AUC worth averaging.
_MIN_EACH: Final = 10
_BINS: Final = 15


class Question(NamedTuple):
    """What is asked in one variant."""

    bought: Flags  # [n, L]
    candidates: Flags  # [n, L]
    active: Flags  # [n]


class Ranking(NamedTuple):
    """NDCG@10 and recall@10 of each ranked household, and which rows these are."""

    rows: NDArray[np.int64]
    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]


def rank(scores: Scores, question: Question) -> Ranking:
    """Rank every active household that bought one of its candidates. Ties go to the lower row."""
    wanted = question.bought & question.candidates
    rows = np.flatnonzero(question.active & wanted.any(axis=1))
    kept = np.where(question.candidates[rows], scores[rows], -np.inf)
    top = np.argsort(-kept, axis=1, kind="stable")[:, :_DEPTH]
    hits = np.take_along_axis(wanted[rows], top, axis=1)
    count = wanted[rows].sum(axis=1)
    depth = top.shape[1]  # fewer than ten interests have fewer places
    discount = 1.0 / np.log2(np.arange(2, depth + 2))
    ideal = np.cumsum(discount)[np.minimum(count, depth) - 1]
    return Ranking(rows, (hits * discount).sum(axis=1) / ideal, hits.sum(axis=1) / count)


def auc(scores: NDArray[np.floating[Any]], outcomes: Flags) -> float:
    """Share of pairs of a true and a false outcome that the scores order right, ties counting half; NaN without a pair."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # The mean rank of equal scores.
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[places]
    positives = int(outcomes.sum())
    negatives = len(outcomes) - positives
    won = ranks[outcomes].sum() - positives * (positives + 1) / 2.0
    return float(won / (positives * negatives)) if positives and negatives else float("nan")


def auc_by_interest(scores: Scores, question: Question) -> NDArray[np.float64]:
    """AUC over active households for each interest, NaN where there are too few, [L]."""
    aucs = np.full(scores.shape[1], np.nan)
    for row, asked in enumerate(_asked(question)):
        bought = question.bought[asked, row]
        if _enough(bought):
            aucs[row] = auc(scores[asked, row], bought)
    return aucs


def calibration_error(probabilities: NDArray[np.floating[Any]], outcomes: Flags, bins: int = _BINS) -> float:
    """Expected calibration error over bins of equal count."""
    order = np.argsort(probabilities, kind="stable")
    said = np.array_split(probabilities[order].astype(np.float64), bins)
    happened = np.array_split(outcomes[order].astype(np.float64), bins)
    gaps = [abs(s.mean() - h.mean()) * len(s) for s, h in zip(said, happened, strict=True) if len(s)]
    return float(sum(gaps) / len(order))


def drawn_auc_by_interest(
    scores: Scores, question: Question, drawn: NDArray[np.int64]
) -> NDArray[np.float64]:
    """AUC of each interest that has enough buyers under each draw of households, [interests, draws]; none may have.

    Args:
        scores: [n, L].
        question: Which interests have enough does not depend on the draw.
        drawn: How often each household is in each draw, [draws, n].
    """
    aucs = [
        _drawn_auc(scores[asked, row], question.bought[asked, row], drawn[:, asked])
        for row, asked in enumerate(_asked(question))
        if _enough(question.bought[asked, row])
    ]
    return np.array(aucs, dtype=np.float64).reshape(len(aucs), len(drawn))


def _drawn_auc(scores: NDArray[np.float32], bought: Flags, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """AUC under each draw's multiplicities [draws, m]; a pair of equal scores is won by half."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    weights = drawn[:, order].astype(np.float64)
    positive = weights * bought[order]
    negative = weights - positive
    lower = np.concatenate([np.zeros((len(drawn), 1)), np.cumsum(negative, axis=1)], axis=1)
    begins, ends = (np.searchsorted(ranked, ranked, side) for side in ("left", "right"))
    below = (lower[:, begins] + lower[:, ends]) / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    won = (positive * below).sum(axis=1)
    return np.asarray(np.divide(won, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0))


def _asked(question: Question) -> Flags:
    """Which households each interest is asked about, [L, n]."""
    return np.asarray((question.candidates & question.active[:, None]).T)


def _enough(bought: Flags) -> bool:
    positives = int(bought.sum())
    return min(positives, len(bought) - positives) >= _MIN_EACH
