"""What a name says of a candidate by those with like names: what they lend, and how much is bought of such.

Shapes: n households, L candidates, K known ones, D dimensions, f features.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge

Floats = NDArray[np.float32]

#: Sharpness of "which names are like this one": a difference in cosine of .05 is a factor of 2.7.
_LENDING: Final = 0.05
#: The same for levels, of which there are few to learn from.
_LEVELS: Final = 0.2
#: How much more alike two of one department are than two names that have nothing in common; a name with itself is 1.
_DEPARTMENT: Final = 0.3
#: Ridge with names, and with departments alone, whose means need more of it.
_RIDGE: Final = 0.3
_RIDGE_DEPARTMENTS: Final = 1.0
#: A level below the odds of selling to nearly everybody.
_MOST: Final = -0.02


def lending(names: Floats, known: NDArray[np.bool_]) -> Floats:
    """[L, L]: how much each candidate (column) borrows from each known one (row); columns sum to 1, itself left out.

    Args:
        names: Unit vectors [L, D]; what all names share is taken out first.
        known: Whom may be borrowed from, [L]; two at least.
    """
    cosines = _cosines(names, known)
    cosines[~known] = -np.inf
    np.fill_diagonal(cosines, -np.inf)
    # From the nearest on, else what has no near one would borrow nothing.
    weights = np.exp((cosines - cosines.max(axis=0)) / _LENDING)
    return np.asarray(weights / weights.sum(axis=0), dtype=np.float32)


def borrowed(features: Floats, weights: Floats) -> Floats:
    """Features [n, L, f] of the candidates as those with like names have them, [n, L, f]."""
    lent = [features[..., column] @ weights for column in range(features.shape[-1])]
    return np.stack(lent, axis=-1)


class Likeness:
    """How much two candidates have in common for their level: the name, the department, or both.

    Args:
        names: Unit vectors [L, D], None for departments alone.
        departments: One-hot [L, departments], None for names alone.
    """

    def __init__(self, names: Floats | None, departments: Floats | None) -> None:
        self._names = names
        self._departments = departments

    def levels(self, rates: Floats, known: NDArray[np.bool_]) -> Floats:
        """Log-odds of a purchase by anybody for all candidates, [L], by ridge regression on what is known of like ones.

        Args:
            rates: Log of the share of households that buy each within the horizon, [L]; only those of known ones are read.
            known: [L].
        """
        kernel = self._kernel(known)
        ridge = _RIDGE if self._names is not None else _RIDGE_DEPARTMENTS
        mean = rates[known].mean()
        fitted = KernelRidge(alpha=ridge, kernel="precomputed").fit(
            kernel[np.ix_(known, known)], rates[known] - mean
        )
        shares = np.exp(np.minimum(mean + fitted.predict(kernel[:, known]), _MOST))
        return np.asarray(np.log(shares / (1.0 - shares)), dtype=np.float32)

    def _kernel(self, known: NDArray[np.bool_]) -> NDArray[np.float64]:
        kernel = np.zeros((len(known), len(known)))
        if self._names is not None:
            kernel += np.exp((_cosines(self._names, known) - 1.0) / _LEVELS)
        if self._departments is not None:
            kernel += _DEPARTMENT * (self._departments @ self._departments.T)
        return kernel


def _cosines(names: Floats, known: NDArray[np.bool_]) -> Floats:
    """[L, L], after what the known names share is taken out."""
    own = centred(names, known)
    return np.asarray(own @ own.T)


def centred(vectors: Floats, known: NDArray[np.bool_]) -> Floats:
    """Unit vectors [n, D] without what the known ones of them share."""
    own = vectors - vectors[known].mean(axis=0)
    return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-6))
