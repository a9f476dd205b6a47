"""Keeps SCORE from holding FOLD: they share one event loop, and the stream goes first.

While FOLD is busy SCORE may work for a fixed share of the time; the due users wait, each once, however many events
come. When FOLD has caught up SCORE takes what it wants. Pure; times are monotonic seconds passed in.
"""

from collections import deque
from typing import Final

#: FOLD is busy if it worked for more than half of this.
_LOOK_BACK_SECONDS: Final = 1.0
_BUSY_RATIO: Final = 0.5


class ScorePace:
    """Says how long SCORE has to wait before its next batch.

    Args:
        share: Of the time, for SCORE while FOLD is busy, 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._folds: deque[tuple[float, float]] = deque()
        self._free_at = 0.0

    def folded(self, started: float, ended: float) -> None:
        """FOLD worked on a bundle for that time."""
        self._folds.append((started, ended))
        while self._folds and self._folds[0][1] < ended - _LOOK_BACK_SECONDS:
            self._folds.popleft()

    def is_fold_busy(self, now: float) -> bool:
        """Whether FOLD worked for more than half of the last second."""
        since = now - _LOOK_BACK_SECONDS
        worked = sum(ended - max(started, since) for started, ended in self._folds if ended > since)
        return worked > _BUSY_RATIO * _LOOK_BACK_SECONDS

    def scored(self, work_seconds: float, now: float) -> None:
        """SCORE kept the event loop for that long, in pieces."""
        self._free_at = max(self._free_at, now - _LOOK_BACK_SECONDS) + work_seconds / self._share

    def wait_seconds(self, now: float) -> float:
        """How long SCORE has to wait now, 0 if it may work."""
        return max(self._free_at - now, 0.0) if self.is_fold_busy(now) else 0.0
