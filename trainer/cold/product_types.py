"""The next level of the category tree: some thousand candidates with few buyers each, with and without text.

Samples are those of any other interest level; every model sees each candidate's own history.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.baselines import counters
from trainer.cold.learner import Learner, LearnerRecipe, Scores, thinned
from trainer.cold.names import borrowed, lending
from trainer.derived import FEATURES, HISTORY_ONLY, TEXT_FEATURES
from trainer.progress import Progress
from trainer.rows import Split, SplitReader, TextVectors
from trainer.samples import Purchases, Samples

Floats = NDArray[np.float32]

#: Every so many fit cutoffs are learnt from: a thousand candidates make rows enough.
_EVERY: Final = 6
#: What a candidate borrows from its category's others, and from those with like names.
_LENT: Final = (
    "decayed_weight_28d",
    "decayed_weight_112d",
    "decayed_weight_224d",
    "purchases",
    "bought_ever",
)
_LENT_COLUMNS: Final = [FEATURES.index(name) for name in _LENT]
_TEXT: Final = range(HISTORY_ONLY, HISTORY_ONLY + len(TEXT_FEATURES))
_TREE: Final = range(_TEXT.stop, _TEXT.stop + len(_LENT) + 1)
_BY_NAME: Final = range(_TREE.stop, _TREE.stop + len(_LENT))
_COLUMNS: Final = {
    "gbdt": (*range(HISTORY_ONLY),),
    "gbdt_tree": (*range(HISTORY_ONLY), *_TREE),
    "text": (*range(HISTORY_ONLY), *_TEXT, *_TREE, *_BY_NAME),
}


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
    parents = parents_of(samples.catalogue(), samples.texts, samples.labels.names)
    draw, rows = np.random.default_rng(recipe.seed), []
    for day in fit_days:
        split = reader.read(day, held_out=False)
        rows.append(thinned(_features(split, weights, parents), split.inputs.bought.numpy(), recipe, draw))
        advance(1)
    learners = {name: Learner(recipe, columns) for name, columns in _COLUMNS.items()}
    for learner in learners.values():
        learner.fit(rows)
    splits: list[Split] = []
    said: dict[str, list[Scores]] = {}
    for day in days:
        split = reader.read(day, held_out=held_out)
        features = _features(split, weights, parents)
        told = {
            **counters(split),
            **{name: learner.predict(features) for name, learner in learners.items()},
        }
        for name, scores in told.items():
            said.setdefault(name, []).append(scores)
        splits.append(split)
        advance(1)
    return splits, said


def parents_of(catalogue: Purchases, texts: Sequence[str], names: Sequence[str]) -> Floats:
    """The category that each candidate is in, one-hot [L, categories]: what stands between its name and the department in a text.

    A candidate whose category has the same name, or that has none, is in one of its own.
    """
    text_of = dict(zip(catalogue.interest.tolist(), catalogue.text.tolist(), strict=True))
    found = [_parent(texts[text_of[row]], name) for row, name in enumerate(names)]
    order = sorted(set(found))
    return np.array([[parent == node for node in order] for parent in found], dtype=np.float32)


def _parent(text: str, name: str) -> str:
    return text.removeprefix(f"{name}, ").rpartition(", ")[0] or name


def _features(split: Split, weights: Floats, parents: Floats) -> Floats:
    """[n, L, F]: derived, then the sums over the others of the candidate's category and their number, then what names lend."""
    derived = split.derived.numpy().astype(np.float32)
    own = derived[..., _LENT_COLUMNS]
    siblings = parents @ parents.T
    np.fill_diagonal(siblings, 0.0)
    number = np.broadcast_to(siblings.sum(axis=0)[:, None], (*own.shape[:2], 1))
    return np.concatenate([derived, borrowed(own, siblings), number, borrowed(own, weights)], axis=-1)
