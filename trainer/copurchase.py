"""What the encoder is taught: texts that the same household buys in the same weeks are alike.

The teacher is the shifted PMI of text pairs within 28-day windows, reduced by SVD. Only households that are not held
out and purchases before validation count. Interest names are taught too, as the mean of their texts, because the head
compares shoppers with names.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from trainer.dates import DAY_SECONDS
from trainer.samples import Samples

_WINDOW_SECONDS: Final = 28 * DAY_SECONDS
_TEACHER_DIMENSIONS: Final = 96
#: The teacher holds every pair of texts: 400 MB, and a few times that while it is made. Of a larger range the texts that are
#: bought most often teach; the encoder reads the others by what it learnt of these.
_MOST_TEXTS: Final = 10_000
#: Texts bought less often have no trustworthy neighbours.
_MIN_PURCHASES: Final = 20
_HELD_OUT_TEXT_RATIO: Final = 0.1
#: Added to pair and text counts: a rare pair proves little.
_PAIR_PRIOR: Final = 0.02
_TEXT_PRIOR: Final = 3.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """Texts with their teacher vectors; the last ones are interest names.

    ``teacher`` is [n, 96], unit rows; ``weights`` [n] says how often a text is drawn; ``fit`` and ``unseen`` are rows,
    the latter never shown in training.
    """

    texts: list[str]
    teacher: NDArray[np.float32]
    weights: NDArray[np.float64]
    fit: NDArray[np.int64]
    unseen: NDArray[np.int64]


def make_lesson(samples: Samples, seed: int) -> Lesson:
    """The co-purchase lesson of the fit households."""
    purchases = samples.fit_purchases(samples.calendar.validation)
    household, text = purchases.household, purchases.text
    window = (purchases.at_seconds - purchases.at_seconds[0]) // _WINDOW_SECONDS
    count = len(samples.texts)
    bought = np.bincount(text, minlength=count).astype(np.float64)
    common = np.sort(np.argsort(-bought, kind="stable")[:_MOST_TEXTS])
    teacher = _teacher_of(common, household, text, window, count)
    interest_of = np.full(count, -1, dtype=np.int64)
    interest_of[purchases.text] = purchases.interest
    names = _name_vectors(teacher, bought, interest_of, len(samples.labels))
    per_interest = np.bincount(
        interest_of[interest_of >= 0], bought[interest_of >= 0], minlength=len(samples.labels)
    )
    often = common[bought[common] >= _MIN_PURCHASES]
    chosen = np.random.default_rng(seed).random(len(often)) < _HELD_OUT_TEXT_RATIO
    fit = np.concatenate([often[~chosen], count + np.arange(len(samples.labels))])
    return Lesson(
        texts=[*samples.texts, *samples.labels.names],
        teacher=np.concatenate([teacher, names]),
        weights=np.sqrt(np.concatenate([bought, per_interest])),
        fit=fit,
        unseen=often[chosen],
    )


def agreement(lesson: Lesson, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> float | None:
    """Correlation of the encoder's similarities with the teacher's, from ``rows`` to all texts bought often.

    None if there are no such rows, in a shop of few products.
    """
    if not len(rows):
        return None
    pool = np.concatenate([lesson.fit, lesson.unseen])
    ours = vectors[rows] @ vectors[pool].T
    theirs = lesson.teacher[rows] @ lesson.teacher[pool].T
    return float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])


def _teacher_of(
    common: NDArray[np.int64],
    household: NDArray[np.int32],
    text: NDArray[np.int32],
    window: NDArray[np.int64],
    count: int,
) -> NDArray[np.float32]:
    """Vectors [count, 96] of the common texts, in rising order; the others' are zero."""
    place = np.full(count, -1, dtype=np.int32)
    place[common] = np.arange(len(common))
    kept = place[text] >= 0
    vectors = np.zeros((count, _TEACHER_DIMENSIONS), dtype=np.float32)
    vectors[common] = _teacher(household[kept], place[text[kept]], window[kept], len(common))
    return vectors


def _teacher(
    household: NDArray[np.int32], text: NDArray[np.int32], window: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Unit vectors [count, 96] whose products approximate the PMI."""
    pairs = np.zeros((count, count), dtype=np.float32)
    for number in range(int(window.max()) + 1):
        rows = window == number
        ones = np.ones(int(rows.sum()), dtype=np.float32)
        basket = sparse.csr_matrix((ones, (household[rows], text[rows])), shape=(household.max() + 1, count))
        basket.data[:] = 1.0
        # A household with many texts makes many pairs; each household gets about the same say.
        size = np.asarray(basket.sum(axis=1)).ravel()
        weighted = sparse.diags(1.0 / np.sqrt(np.maximum(size, 1.0))) @ basket
        pairs += (weighted.T @ weighted).toarray()
    np.fill_diagonal(pairs, 0.0)
    total = pairs.sum(axis=1) + 1e-6
    expected = np.outer(total + _TEXT_PRIOR, total + _TEXT_PRIOR) / total.sum() + _PAIR_PRIOR
    pmi = np.log((pairs + _PAIR_PRIOR) / expected).clip(0.0)
    # A fixed start vector: the default is random. A small shop has fewer texts than dimensions.
    left, values, _ = svds(pmi, k=min(_TEACHER_DIMENSIONS, count - 1), v0=np.ones(count, dtype=pmi.dtype))
    missing = _TEACHER_DIMENSIONS - len(values)
    return _unit(np.pad(left * np.sqrt(values.clip(0.0)), ((0, 0), (missing, 0))))


def _name_vectors(
    teacher: NDArray[np.float32], bought: NDArray[np.float64], interest_of: NDArray[np.int64], labels: int
) -> NDArray[np.float32]:
    sums = np.zeros((labels, teacher.shape[1]))
    member = interest_of >= 0
    np.add.at(sums, interest_of[member], teacher[member] * np.sqrt(bought[member])[:, None])
    return _unit(sums)


def _unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    unit = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6)
    return np.asarray(unit, dtype=np.float32)
