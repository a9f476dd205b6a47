"""One learner for both sides: gradient boosting with and without the features of text, on the same rows.

What differs between the two is the text alone. Shapes: n households, L candidates, F features.
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


class Block(NamedTuple):
    """One cutoff of some households."""

    features: Features  # [n, L, F]
    bought: Flags  # [n, L]


@dataclass(frozen=True, slots=True)
class LearnerRecipe:
    """How both are fitted."""

    rounds: int = 150
    #: Of the pairs that were not bought one in so many is learnt from, with that weight.
    thinning: int = 6
    least_rows: int = 100
    threads: int = 1
    seed: int = 0


class Learner:
    """Probability that a household buys a candidate.

    Args:
        recipe: How it is fitted.
        columns: Which of the features it may see.
    """

    def __init__(self, recipe: LearnerRecipe, columns: Sequence[int]) -> None:
        self._recipe = recipe
        self._columns = list(columns)
        self._trees = lightgbm.LGBMClassifier(
            n_estimators=recipe.rounds,
            learning_rate=0.05,
            num_leaves=31,
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

    def fit(self, blocks: Sequence[Block]) -> None:
        """Learn from all that was bought and some of what was not."""
        draw = np.random.default_rng(self._recipe.seed)
        rows, outcomes = [], []
        for features, bought in blocks:
            kept = bought | (draw.integers(self._recipe.thinning, size=bought.shape) == 0)
            rows.append(features[kept][:, self._columns])
            outcomes.append(bought[kept])
        happened = np.concatenate(outcomes)
        weights = np.where(happened, 1.0, float(self._recipe.thinning))
        self._trees.fit(np.concatenate(rows), happened, sample_weight=weights)

    def predict(self, features: Features) -> Scores:
        """[n, L]."""
        flat = features.reshape(-1, features.shape[-1])[:, self._columns]
        found = self._trees.booster_.predict(flat, num_threads=self._recipe.threads)
        return np.asarray(found, dtype=np.float32).reshape(features.shape[:2])
