"""The next level of the category tree: some thousand candidates with few buyers each, with and without text.

Samples are those of any other interest level; every model sees each candidate's own history.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.baselines import counters
from trainer.cold.learner import Block, Learner, LearnerRecipe, Scores
from trainer.cold.names import borrowed, lending
from trainer.derived import FEATURES, HISTORY_ONLY
from trainer.progress import Progress
from trainer.rows import Split, SplitReader, TextVectors
from trainer.samples import Samples

#: Every so many fit cutoffs are learnt from: a thousand candidates make rows enough.
_EVERY: Final = 6
#: What a candidate borrows from those with like names, beside the served head's five features of text.
_LENT: Final = ("rate_28d", "new_rate", "ease", "neighbours", "svd", "decayed_weight_56d")
_LENT_COLUMNS: Final = [FEATURES.index(name) for name in _LENT]
_WITHOUT: Final = range(HISTORY_ONLY)
_WITH: Final = range(len(FEATURES) + len(_LENT))


def score_product_types(
    samples: Samples, vectors: TextVectors, recipe: LearnerRecipe, progress: Progress, *, held_out: bool
) -> tuple[list[Split], dict[str, list[Scores]]]:
    """The rows that are asked about, and what each model says of them by name and cutoff.

    Args:
        samples: At the level of product types.
        vectors: Of its texts and names.
        recipe: Of the learner.
        progress: Shows bars.
        held_out: The test cutoffs of the held-out households, else the validation month of the others.
    """
    reader, calendar = SplitReader(samples, vectors), samples.calendar
    days = calendar.tests if held_out else (calendar.validation,)
    fit_days = calendar.fit_cutoffs()[::-1][::_EVERY]
    advance = progress("read product types", len(fit_days) + len(days))
    weights = lending(vectors.names, np.ones(len(vectors.names), dtype=np.bool_))
    blocks = []
    for day in fit_days:
        split = reader.read(day, held_out=False)
        blocks.append(Block(_features(split, weights), split.inputs.bought.numpy()))
        advance(1)
    learners = {"gbdt": Learner(recipe, _WITHOUT), "text": Learner(recipe, _WITH)}
    for learner in learners.values():
        learner.fit(blocks)
    splits: list[Split] = []
    said: dict[str, list[Scores]] = {}
    for day in days:
        split = reader.read(day, held_out=held_out)
        features = _features(split, weights)
        told = {
            **counters(split),
            **{name: learner.predict(features) for name, learner in learners.items()},
        }
        for name, scores in told.items():
            said.setdefault(name, []).append(scores)
        splits.append(split)
        advance(1)
    return splits, said


def _features(split: Split, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, L, F + lent]."""
    derived = split.derived.numpy().astype(np.float32)
    return np.concatenate([derived, borrowed(derived[..., _LENT_COLUMNS], weights)], axis=-1)
