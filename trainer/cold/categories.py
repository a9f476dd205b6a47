"""Categories held out of training: scored from their names, as if the shop had never sold them.

The categories are dealt into groups (``trainer.cold.hiding``). A model is asked about one group and learns from the others; it
never sees what was bought of the asked group, neither as a target nor in a feature. Each category that it learns from is
hidden too, with its group, so that it looks like the asked ones. The encoder must not have seen the categories either:
take one that was not trained on the shop.

What is to be said of a candidate has two parts. How much of it is bought at all has a few hundred candidates to be learnt from,
which trees would learn by heart, so a ridge regression says it (``trainer.cold.names.Likeness``) and the trees start from
there. Who buys more than others is for the trees, which see what depends on household and candidate without its mean over
the households, and so can't tell one candidate from another by it.

Shapes: n households, L categories, F features.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.features import USER_FEATURES
from trainer.cold.hiding import GROUPS, Hiding
from trainer.cold.learner import Learner, LearnerRecipe, Rows, Scores, thinned
from trainer.cold.names import Likeness
from trainer.derived import FEATURES, TEXT_FEATURES
from trainer.progress import Progress
from trainer.rows import Split, SplitReader, TextVectors
from trainer.samples import Samples

Floats = NDArray[np.float32]

#: Every so many fit cutoffs are learnt from.
_EVERY: Final = 6
_DEPARTMENT: Final = ("department_share", "department_lift", "department_weight", "department_breadth")
_HOUSEHOLD: Final = range(len(USER_FEATURES))
_TREE: Final = range(_HOUSEHOLD.stop, _HOUSEHOLD.stop + len(_DEPARTMENT))
_TEXT: Final = range(_TREE.stop, _TREE.stop + len(TEXT_FEATURES))
_SEEN: Final = [FEATURES.index(name) for name in (*USER_FEATURES, *_DEPARTMENT, *TEXT_FEATURES)]
_CENTRED_WEIGHT: Final = _TREE.start + _DEPARTMENT.index("department_weight")
#: What each model sees of the features.
_COLUMNS: Final = {
    "gbdt": (*_HOUSEHOLD,),
    "gbdt_tree": (*_HOUSEHOLD, *_TREE),
    "text_alone": (*_HOUSEHOLD, *_TEXT),
    "text": (*_HOUSEHOLD, *_TREE, *_TEXT),
}
#: Where the level stands that its trees start from, in the order of ``_likenesses``.
_LEVELS: Final = {"gbdt_tree": _TEXT.stop, "text_alone": _TEXT.stop + 1, "text": _TEXT.stop + 2}
_DEPARTMENT_WEIGHT: Final = _TEXT.stop + len(_LEVELS)


def score_held_out_categories(
    samples: Samples, vectors: TextVectors, recipe: LearnerRecipe, progress: Progress, *, held_out: bool
) -> tuple[list[Split], dict[str, list[Scores]]]:
    """The rows that are asked about, and what each model says of each category when its group was held out.

    Args:
        samples: Of the shop.
        vectors: By an encoder that never saw the shop.
        recipe: Of the learner.
        progress: Shows bars.
        held_out: The test cutoffs of the held-out households, else the validation month of the others.
    """
    reader, hiding = SplitReader(samples, vectors), Hiding(samples, vectors)
    fitted = reader.read_fit(_EVERY)
    likenesses = _likenesses(vectors, fitted[0])
    rows = _rows_by_group(fitted, hiding, likenesses, recipe, progress)
    learners = [
        {name: Learner(recipe, columns, _LEVELS.get(name)) for name, columns in _COLUMNS.items()}
        for _ in range(GROUPS)
    ]
    told = progress("learn without each group", GROUPS)
    for group, by_name in enumerate(learners):
        for learner in by_name.values():
            learner.fit(rows[group])
        told(1)
    days = samples.calendar.tests if held_out else (samples.calendar.validation,)
    advance = progress("ask about each group", len(days))
    splits: list[Split] = []
    said: dict[str, list[Scores]] = {}
    for day in days:
        split = reader.read(day, held_out=held_out)
        for name, scores in _ask(split, hiding, likenesses, learners).items():
            said.setdefault(name, []).append(scores)
        splits.append(split)
        advance(1)
    return splits, said


def _likenesses(vectors: TextVectors, split: Split) -> list[Likeness]:
    departments = split.tables.departments
    return [Likeness(None, departments), Likeness(vectors.names, None), Likeness(vectors.names, departments)]


def _rows_by_group(
    fitted: Sequence[Split],
    hiding: Hiding,
    likenesses: Sequence[Likeness],
    recipe: LearnerRecipe,
    progress: Progress,
) -> list[list[Rows]]:
    """By asked group what a model may learn from the others, each hidden in its turn beside the asked one."""
    draw = np.random.default_rng(recipe.seed)
    found: list[list[Rows]] = [[] for _ in range(GROUPS)]
    pairs = list(combinations(range(GROUPS), 2))
    advance = progress("hide pairs of groups", len(fitted) * len(pairs))
    for split in fitted:
        bought = split.inputs.bought.numpy()
        for pair in pairs:
            features = _features(split, hiding, likenesses, pair)
            for asked, learnt in (pair, pair[::-1]):
                mine = hiding.group == learnt
                found[asked].append(thinned(features[:, mine], bought[:, mine], recipe, draw))
            advance(1)
    return found


def _ask(
    split: Split,
    hiding: Hiding,
    likenesses: Sequence[Likeness],
    learners: Sequence[Mapping[str, Learner]],
) -> dict[str, Scores]:
    shape = split.inputs.bought.shape
    names = ("popularity", "department_frequency", *_COLUMNS)
    said = {name: np.zeros(shape, dtype=np.float32) for name in names}
    for group, by_name in enumerate(learners):
        mine = hiding.group == group
        features = _features(split, hiding, likenesses, (group,))[:, mine]
        said["popularity"][:, mine] = features[..., _LEVELS["gbdt_tree"]]
        said["department_frequency"][:, mine] = features[..., _DEPARTMENT_WEIGHT]
        for name, learner in by_name.items():
            said[name][:, mine] = learner.predict(features)
    return said


def _features(split: Split, hiding: Hiding, likenesses: Sequence[Likeness], groups: Sequence[int]) -> Floats:
    """Every category as if these groups had never been sold, [n, L, F], then the level by each likeness, then a counter."""
    found = hiding.derived(split, groups)[..., _SEEN].numpy().astype(np.float32)
    weight = found[..., _CENTRED_WEIGHT, None].copy()
    found[..., _TREE.start :] -= found[..., _TREE.start :].mean(axis=0)
    known, rates = ~np.isin(hiding.group, groups), split.tables.rates[:, 0]
    levels = np.stack([likeness.levels(rates, known) for likeness in likenesses], axis=-1)  # [L, likenesses]
    return np.concatenate([found, np.broadcast_to(levels, (len(found), *levels.shape)), weight], axis=-1)
