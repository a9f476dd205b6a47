"""What the worker asks of a model, whoever answers.

Shapes: n rows, L interests, H history features, U user features, K pooled window vectors, D dimensions.
All float32, laid out as in ``stream.features``.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Purchase intent is given for any purchase within this many days.
INTENT_DAYS: Final = (1, 3, 7)


class Scored(NamedTuple):
    """The interest head's answer for n users, in the order asked."""

    scores: Floats
    """[n, L], calibrated probabilities in the row order of the label set."""
    intent: Floats
    """[n, 3], probabilities by ``INTENT_DAYS``."""
    user_vectors: Floats
    """[n, D]."""


class ModelPort(Protocol):
    """An encoder of texts and a scorer of users, which ship as a pair."""

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors [n, D] of the texts, in their order.

        Raises:
            ModelUnavailableError: No usable answer in time; ``kind`` of ``ModelCallError`` says why.
        """
        ...

    async def score(self, history: Floats, user: Floats, window: Floats) -> Scored:
        """Scores of n users from [n, L, H], [n, U] and [n, K, D]; rows don't influence each other.

        Raises:
            ModelUnavailableError: As ``encode``.
        """
        ...
