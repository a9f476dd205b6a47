"""What the head must be compared with: counters, and gradient boosting on history without any text.

Shapes: n households, L interests. All answer with a score per household and interest, [n, L].
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Final

import lightgbm
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream.features import HISTORY_FEATURES
from trainer.derived import FEATURES, FROZEN_FEATURES, STATE_FEATURES
from trainer.rival_cache import fingerprint
from trainer.rows import Split

Scores = NDArray[np.float32]

#: A tie in a counter is broken by popularity, which is worth less than any count.
_TIE: Final = 1e-6
_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
_DECAYED_112D: Final = HISTORY_FEATURES.index("decayed_weight_112d")
_RATE_28D: Final = FEATURES.index("rate_28d")
_NEIGHBOURS: Final = FEATURES.index("neighbours")
_EASE: Final = FEATURES.index("ease")
#: Neighbours among items order what the household's own counts leave equal; a purchase of its own is worth more.
_NEIGHBOUR_WEIGHT: Final = 0.1
#: Recency, frequency, popularity and item neighbours: what a shop has without much thought.
FEATURES_17: Final = (
    "decayed_weight_7d",
    "decayed_weight_28d",
    "decayed_weight_112d",
    "purchases",
    "days_since_purchase",
    "mean_gap_days",
    "since_to_gap_ratio",
    "decayed_orders_7d",
    "decayed_orders_28d",
    "decayed_orders_56d",
    "days_since_order",
    "purchased_categories",
    "rate_28d",
    "rate_84d",
    "neighbours",
    "ease",
    "follows",
)
#: With more decays, rates of newly buying, the department and a projection. Popularity of the last 7 and 14 days, its
#: trend and neighbours among users would need other users' state; the last five stand in their place.
FEATURES_31: Final = (
    *FEATURES_17,
    "decayed_weight_14d",
    "decayed_weight_56d",
    "decayed_weight_224d",
    "decayed_weight_total_56d",
    "new_rate",
    "first_rate",
    "department_share",
    "department_lift",
    "svd",
    "mean_rate",
    "department_weight",
    "bought_recently",
    "bought_ever",
    "days_since_first_seen",
)
#: The bar: every servable feature without text that the first version had.
FEATURES_ALL: Final = (*STATE_FEATURES, *FROZEN_FEATURES)
_SETTINGS: Final[dict[str, object]] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 400,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "max_bin": 127,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}


@dataclass(frozen=True, slots=True)
class BoostingRecipe:
    """How gradient boosting is fitted."""

    rounds: int = 250
    #: Every so many cutoffs are fitted: neighbours in time say nearly the same.
    every: int = 3
    #: The trees are the same with any number of them.
    threads: int = 2
    seed: int = 0


def counters(split: Split) -> dict[str, Scores]:
    """The models without a fit of their own, by name: counts, and what goes with the household's own counts."""
    history = split.inputs.history
    popularity = np.exp(split.derived[..., _RATE_28D].float().numpy())
    return {
        "popularity": popularity,
        "frequency": history[..., _PURCHASES].numpy() + _TIE * popularity,
        "recency_weighted_frequency": history[..., _DECAYED_112D].numpy() + _TIE * popularity,
        "item_knn_own_history": torch.log1p(history[..., _DECAYED_112D]).numpy()
        + _NEIGHBOUR_WEIGHT * split.derived[..., _NEIGHBOURS].float().numpy(),
        "ease": split.derived[..., _EASE].float().numpy() + _TIE * popularity,
    }


class Boosting:
    """Gradient boosting on servable history features: state and frozen tables, no text."""

    def __init__(self, recipe: BoostingRecipe, features: Sequence[str] = FEATURES_ALL) -> None:
        self._recipe = recipe
        self._columns = [FEATURES.index(name) for name in features]
        self._trees: lightgbm.Booster | None = None

    def fit(self, splits: Sequence[Split], advance: Callable[[int], None] = lambda _: None) -> None:
        """Fit on all interests of the splits; ``advance`` is told finished rounds."""
        columns = np.concatenate([self._rows(split.derived) for split in splits])
        outcomes = np.concatenate([split.inputs.bought.numpy().reshape(-1) for split in splits])
        settings = {**_SETTINGS, "num_threads": self._recipe.threads, "seed": self._recipe.seed}
        rows = lightgbm.Dataset(columns, outcomes.astype(np.float32), params=settings)
        self._trees = lightgbm.train(settings, rows, self._recipe.rounds, callbacks=[lambda _: advance(1)])

    def fingerprint(self, splits: Sequence[Split]) -> str:
        """What a fit on these splits would depend on."""
        columns = (self._rows(split.derived) for split in splits)
        outcomes = (split.inputs.bought.numpy() for split in splits)
        recipe = asdict(replace(self._recipe, threads=1))
        return fingerprint({**_SETTINGS, **recipe}, chain(columns, outcomes))

    def predict(self, derived: Tensor) -> Scores:
        """Probabilities [n, L] of derived features [n, L, F]."""
        assert self._trees is not None
        found = self._trees.predict(self._rows(derived), num_threads=self._recipe.threads)
        return np.asarray(found, dtype=np.float32).reshape(derived.shape[:2])

    def dump(self) -> bytes:
        """The trees, for ``load``."""
        assert self._trees is not None
        return self._trees.model_to_string().encode()

    def load(self, dumped: bytes) -> None:
        """Take the trees of ``dump``."""
        self._trees = lightgbm.Booster(model_str=dumped.decode())

    def _rows(self, derived: Tensor) -> NDArray[np.float32]:
        return np.asarray(derived[..., self._columns].flatten(0, 1).float().numpy())
