"""What user vectors are worth: a linear model on them says who will buy, on a cutoff that choices may see.

Shapes: n users, D dimensions, I spans of days.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.contract import INTENT_DAYS
from trainer.ranking import auc

Matrix = NDArray[np.float32]
_PENALTY: Final = 0.1
_DRAWS: Final = 500


class Vectors(NamedTuple):
    """One kind of user vectors, of the users to fit on and of those to ask."""

    fit: Matrix  # [n, D]
    asked: Matrix  # [m, D]


class Bought(NamedTuple):
    """Whether anything is bought within 1, 3, 7 days."""

    fit: NDArray[np.bool_]  # [n, I]
    asked: NDArray[np.bool_]  # [m, I]


def probe(
    kinds: Mapping[str, Vectors], bought: Bought, reference: str, seed: int = 0
) -> dict[str, dict[str, dict[str, object]]]:
    """AUC of each kind by span, with its 95 % interval and that of its difference to the reference (users drawn anew)."""
    found: dict[str, dict[str, dict[str, object]]] = {}
    draw = np.random.default_rng(seed)
    count = len(bought.asked)
    drawn = [draw.integers(0, count, count) for _ in range(_DRAWS)]
    for column, days in enumerate(INTENT_DAYS):
        truth = bought.asked[:, column]
        said = {name: _said(vectors, bought.fit[:, column]) for name, vectors in kinds.items()}
        kept = [rows for rows in drawn if 0 < truth[rows].sum() < count]
        aucs = {name: np.array([auc(one[rows], truth[rows]) for rows in kept]) for name, one in said.items()}
        found[f"{days}d"] = {
            name: {
                "auc": auc(said[name], truth),
                "ci": _interval(aucs[name]),
                "difference_ci": _interval(aucs[name] - aucs[reference]),
            }
            for name in kinds
        }
    return found


def _said(vectors: Vectors, bought: NDArray[np.bool_]) -> NDArray[np.float64]:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY, max_iter=1000))
    model.fit(vectors.fit, bought)
    return np.asarray(model.decision_function(vectors.asked), dtype=np.float64)


def _interval(values: NDArray[np.float64]) -> list[float]:
    return [float(bound) for bound in np.quantile(values, [0.025, 0.975])]
