"""How far two model versions are apart on the same users.

Shapes: n users, A interests of the champion, B of the challenger, S that both have. float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_Rows = NDArray[np.intp]


class Compared(NamedTuple):
    """Sums over some users; over the number of rows they are means."""

    rows: float
    difference: float
    """Of the mean absolute difference of a user's scores."""
    overlap: float
    """Of the share of top interests that both name."""
    champion_scores: float
    """Expected purchases."""
    challenger_scores: float


class SharedInterests:
    """The interests that two label sets share, by id.

    Args:
        champion: Ids in row order, [A].
        challenger: Ids in row order, [B].
    """

    def __init__(self, champion: Sequence[str], challenger: Sequence[str]) -> None:
        row_by_id = {interest: row for row, interest in enumerate(challenger)}
        shared = [
            (row, row_by_id[interest]) for row, interest in enumerate(champion) if interest in row_by_id
        ]
        rows: _Rows = np.array(shared, dtype=np.intp).reshape(-1, 2)
        self._champion, self._challenger = rows[:, 0], rows[:, 1]

    def __len__(self) -> int:
        return len(self._champion)

    def compare(self, champion: Floats, challenger: Floats, top: int) -> Compared:
        """Sums over n users with scores [n, A] and [n, B]; ``top`` interests are looked at for the overlap."""
        ours, theirs = champion[:, self._champion], challenger[:, self._challenger]
        if ours.size == 0:
            return Compared(0.0, 0.0, 0.0, 0.0, 0.0)
        named = [
            len(np.intersect1d(_top(one, top), _top(other, top)))
            for one, other in zip(ours, theirs, strict=True)
        ]
        return Compared(
            rows=float(len(ours)),
            difference=float(np.abs(ours - theirs).mean(axis=1).sum()),
            overlap=sum(named) / min(top, len(self)),
            champion_scores=float(ours.sum()),
            challenger_scores=float(theirs.sum()),
        )


def _top(scores: Floats, top: int) -> _Rows:
    return np.argsort(-scores, kind="stable")[:top]
