"""Position bias of impressions: what is answered less only because it stood further down.

Where an impression has a position, the fit gets one more column per position after the first, and serving leaves these
columns out: every creative is judged as if it stood first. For rare answers the logit is the log of the probability, so
adding an effect of the position is the examination hypothesis: seen times liked. Source: Guo et al. 2019, PAL (position-bias aware
learning), with a logistic model on both sides.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Of an impression whose position is not known; it counts as the first, which has no column.
UNKNOWN: Final = -1
#: A position with fewer impressions is joined to the one before.
_MIN_IMPRESSIONS: Final = 200


class PositionBias:
    """Columns for the positions of some impressions.

    Args:
        positions: Of the impressions that are fitted, [n], counted from any number; ``UNKNOWN`` where there is none.
    """

    def __init__(self, positions: NDArray[np.int64]) -> None:
        known, counts = np.unique(positions[positions != UNKNOWN], return_counts=True)
        # The first has no column: the model's own weights speak of it.
        self._starts = [int(position) for position in known[1:][counts[1:] >= _MIN_IMPRESSIONS]]

    @property
    def names(self) -> list[str]:
        """The columns by the position at which each begins."""
        return [f"from_position_{start}" for start in self._starts]

    def columns(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Which impressions stood there, one-hot [n, columns]; none where the position is the first or not known."""
        starts = np.array(self._starts, dtype=np.int64)
        place = np.searchsorted(starts, positions, side="right") - 1
        return np.asarray(place[:, None] == np.arange(len(starts)), dtype=np.float32)
