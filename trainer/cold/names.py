"""What a name lends a candidate from those with like names.

Shapes: n households, L candidates, K known ones, D dimensions.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Sharpness of "which names are like this one": a difference in cosine of .1 is a factor of 2.7.
_TEMPERATURE: Final = 0.1


def lending(names: Floats, known: NDArray[np.bool_]) -> Floats:
    """[L, L]: how much each candidate (column) borrows from each known one (row); columns sum to 1, itself left out.

    Args:
        names: Unit vectors [L, D]; what all names share is taken out first.
        known: Whom may be borrowed from, [L].
    """
    centred = names - names[known].mean(axis=0)
    centred = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    weights = np.exp((centred @ centred.T - 1.0) / _TEMPERATURE)
    weights[~known] = 0.0
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights / np.maximum(weights.sum(axis=0, keepdims=True), 1e-9), dtype=np.float32)


def borrowed(features: Floats, weights: Floats) -> Floats:
    """Features [n, L, f] of the candidates as those with like names have them, [n, L, f]."""
    return np.asarray(np.einsum("nkf,kl->nlf", features, weights, optimize=True), dtype=np.float32)
