"""Categories held out of training: scored from their names, as if the shop had never sold them.

The categories are dealt into groups. For each group everything that was ever bought of it is hidden: from the history, the
tables' columns and the windows. What is left of a candidate is its place in the tree (department) and its name. A model
learns from the other groups, each hidden in its own turn, and is asked about this one. The encoder must not have seen the
categories either: take one that was not trained on the shop.

Shapes: n households, L categories, F features.
"""

from datetime import date
from hashlib import sha256
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stream.features import USER_FEATURES, history_features
from stream.state import UserState
from trainer.cold.learner import Block, Learner, LearnerRecipe, Scores
from trainer.cold.names import borrowed, lending
from trainer.dates import seconds
from trainer.derived import FEATURES, TEXT_FEATURES, DerivedFeatures
from trainer.head_inputs import derive, pooled_windows
from trainer.progress import Progress
from trainer.rows import Split, SplitReader, TextVectors
from trainer.samples import Samples

GROUPS: Final = 5
_EVERY: Final = 6
_NEVER_BOUGHT: Final = history_features(UserState(), {}, 1, 0)[0]
_DEPARTMENT: Final = ("department_share", "department_lift", "department_weight")
#: From categories with like names.
_LENT: Final = ("rate_28d", "ease", "neighbours", "svd", "follows")
_SEEN: Final = [FEATURES.index(name) for name in (*USER_FEATURES, *_DEPARTMENT, *TEXT_FEATURES)]
_LENT_COLUMNS: Final = [FEATURES.index(name) for name in _LENT]
_RATE: Final = FEATURES.index("rate_28d")
_WEIGHT: Final = len(USER_FEATURES) + _DEPARTMENT.index("department_weight")
#: Columns of the features here: department rate, user and department, text, lent.
_WITHOUT: Final = range(1 + len(USER_FEATURES) + len(_DEPARTMENT))
_WITH: Final = range(1 + len(_SEEN) + len(_LENT))


class _Deal(NamedTuple):
    """Which group each category is in [L], and each text [T], -1 for none."""

    of_category: NDArray[np.int64]
    of_text: NDArray[np.int64]


def group_of(category: str) -> int:
    """The group that a category is dealt into."""
    return int(sha256(f"cold:{category}".encode()).hexdigest()[:8], 16) % GROUPS


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
    reader, calendar, deal = SplitReader(samples, vectors), samples.calendar, _deal(samples)
    days = calendar.tests if held_out else (calendar.validation,)
    fit_days = calendar.fit_cutoffs()[::-1][::_EVERY]
    advance = progress("hide categories", len(fit_days) + len(days))

    def read(day: date, *, whose: bool) -> tuple[Split, NDArray[np.float32]]:
        split = reader.read(day, held_out=whose)
        advance(1)
        return split, _features(samples, split, vectors, deal)

    fitted = [read(day, whose=False) for day in fit_days]
    asked = [read(day, whose=held_out) for day in days]
    said: dict[str, list[Scores]] = {
        "popularity": [np.exp(features[..., 0]) for _, features in asked],
        "department_frequency": [features[..., 1 + _WEIGHT] for _, features in asked],
        "gbdt": [np.zeros(features.shape[:2], dtype=np.float32) for _, features in asked],
        "text": [np.zeros(features.shape[:2], dtype=np.float32) for _, features in asked],
    }
    told = progress("hold groups out", GROUPS)
    for group in range(GROUPS):
        mine = deal.of_category == group
        blocks = [
            Block(features[:, ~mine], split.inputs.bought.numpy()[:, ~mine]) for split, features in fitted
        ]
        for name, columns in (("gbdt", _WITHOUT), ("text", _WITH)):
            learner = Learner(recipe, columns)
            learner.fit(blocks)
            for scores, (_, features) in zip(said[name], asked, strict=True):
                scores[:, mine] = learner.predict(features[:, mine])
        told(1)
    return [split for split, _ in asked], said


def _deal(samples: Samples) -> _Deal:
    of_category = np.array([group_of(name) for name in samples.labels.names])
    of_text = np.full(len(samples.texts), -1, dtype=np.int64)
    known = samples.catalogue()
    some = known.interest >= 0
    of_text[known.text[some]] = of_category[known.interest[some]]
    return _Deal(of_category, of_text)


def _features(samples: Samples, split: Split, vectors: TextVectors, deal: _Deal) -> NDArray[np.float32]:
    """Every category as if its group had never been sold, [n, L, F]."""
    found = np.zeros((*split.derived.shape[:2], len(_WITH)), dtype=np.float32)
    snapshot = samples.snapshot(split.day).of(split.inputs.households)
    features = DerivedFeatures(split.tables, vectors.names)
    for group in range(GROUPS):
        mine = deal.of_category == group
        seen = np.where((deal.of_text == group)[:, None], np.float32(0), vectors.texts)
        history = split.inputs.history.clone()
        history[:, torch.from_numpy(mine)] = torch.from_numpy(_NEVER_BOUGHT)
        window = torch.from_numpy(pooled_windows(snapshot, seconds(split.day) * 1000, seen))
        hidden = split.inputs._replace(history=history, window=window)
        derived = derive(features, hidden).numpy().astype(np.float32)
        lent = borrowed(derived[..., _LENT_COLUMNS], lending(vectors.names, ~mine))
        rate = np.broadcast_to(_department_rates(split, mine), derived.shape[:2])[..., None]
        whole = np.concatenate([rate, derived[..., _SEEN], lent], axis=-1)
        found[:, mine] = whole[:, mine]
    return found


def _department_rates(split: Split, mine: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Log of the mean rate of the known categories in each category's department, of all if it has none, [L]."""
    rates = np.exp(split.tables.rates[:, 0])
    departments = split.tables.departments[~mine]  # [known, departments]
    count = departments.sum(axis=0)
    means = np.where(count > 0, rates[~mine] @ departments / np.maximum(count, 1), rates[~mine].mean())
    return np.asarray(np.log(split.tables.departments @ means), dtype=np.float32)
