"""One learner for all sides: gradient boosting with and without the features of text, on the same rows.

What differs between two of them is what they may see. Shapes: n households, L candidates, F features, m rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray

from trainer.ranking import Flags

Features = NDArray[np.float32]
Scores = NDArray[np.float32]


class Rows(NamedTuple):
    """What is learnt from, of one cutoff."""

    features: Features  # [m, F]
    bought: Flags  # [m]


@dataclass(frozen=True, slots=True)
class LearnerRecipe:
    """How all are fitted."""

    rounds: int = 150
    leaves: int = 31
    #: Of the pairs that were not bought one in so many is learnt from, with that weight.
    thinning: int = 6
    least_rows: int = 100
    threads: int = 1
    seed: int = 0


def thinned(features: Features, bought: Flags, recipe: LearnerRecipe, draw: np.random.Generator) -> Rows:
    """All that was bought and some of what was not.

    Args:
        features: [n, L, F].
        bought: [n, L].
        recipe: How many are left out.
        draw: Which.
    """
    kept = bought | (draw.integers(recipe.thinning, size=bought.shape) == 0)
    return Rows(features[kept], bought[kept])


class Learner:
    """Probability that a household buys a candidate.

    Args:
        recipe: How it is fitted.
        columns: Which of the features it may see.
        level: The feature whose log-odds the trees start from; None to start from the mean.
    """

    def __init__(self, recipe: LearnerRecipe, columns: Sequence[int], level: int | None = None) -> None:
        self._recipe = recipe
        self._columns = list(columns)
        self._level = level
        self._trees = lightgbm.LGBMClassifier(
            n_estimators=recipe.rounds,
            learning_rate=0.05,
            num_leaves=recipe.leaves,
            min_child_samples=recipe.least_rows,
            reg_lambda=1.0,
            colsample_bytree=0.7,
            max_bin=127,
            n_jobs=recipe.threads,
            random_state=recipe.seed,
            deterministic=True,
            force_row_wise=True,
            verbose=-1,
        )

    def fit(self, blocks: Sequence[Rows]) -> None:
        """Learn from the rows of all cutoffs."""
        happened = np.concatenate([rows.bought for rows in blocks])
        weights = np.where(happened, 1.0, float(self._recipe.thinning))
        seen = np.concatenate([rows.features[:, self._columns] for rows in blocks])
        start = None
        if self._level is not None:
            start = np.concatenate([rows.features[:, self._level] for rows in blocks])
        self._trees.fit(seen, happened, sample_weight=weights, init_score=start)

    def predict(self, features: Features) -> Scores:
        """[n, L] of features [n, L, F]."""
        flat = features[..., self._columns].reshape(-1, len(self._columns))
        odds = self._trees.booster_.predict(flat, raw_score=True, num_threads=self._recipe.threads)
        odds = np.asarray(odds).reshape(features.shape[:2])
        if self._level is not None:
            odds += features[..., self._level]
        return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float32)
