"""Behaviour windows as sequences that a network reads; no label is in them.

Shapes: n sequences, T places (oldest first, empty ones behind).
"""

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.augmentation import Behaviours, windows_of
from trainer.errors import TrainerError
from trainer.samples import Samples

_HOUR_MS: Final = 3_600_000
#: With less there is nothing to guess from.
_LEAST: Final = 2


class Sequences(NamedTuple):
    """Windows of users, each at one moment."""

    households: NDArray[np.int64]  # [n] rows
    texts: Tensor  # [n, T] rows, -1 where empty
    kinds: Tensor  # [n, T]
    gaps: Tensor  # [n, T] time since the one before, in doublings of an hour

    def of(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Sequences":
        """Some of them."""
        chosen = torch.from_numpy(rows)
        return Sequences(self.households[rows], self.texts[chosen], self.kinds[chosen], self.gaps[chosen])


def padded(households: NDArray[np.int64], windows: Sequence[Behaviours], places: int) -> Sequences:
    """The latest ``places`` behaviours of each window."""
    texts = np.full((len(windows), places), -1, dtype=np.int64)
    kinds = np.zeros((len(windows), places), dtype=np.int64)
    gaps = np.zeros((len(windows), places), dtype=np.float32)
    for row, window in enumerate(windows):
        latest = window.at(np.arange(max(0, len(window.texts) - places), len(window.texts)))
        length = len(latest.texts)
        texts[row, :length] = latest.texts
        kinds[row, :length] = latest.kinds
        since = np.diff(latest.occurred_ms, prepend=latest.occurred_ms[:1])
        gaps[row, :length] = np.log2(1.0 + since / _HOUR_MS)
    return Sequences(households, torch.from_numpy(texts), torch.from_numpy(kinds), torch.from_numpy(gaps))


def read_windows(samples: Samples, day: date) -> tuple[NDArray[np.int64], list[Behaviours]]:
    """Rows and windows at a cutoff of the households that may be learnt from and did something."""
    snapshot = samples.snapshot(day)
    enough = (snapshot.window_texts >= 0).sum(axis=1) >= _LEAST
    households = np.flatnonzero(enough & samples.fitted)
    return households, windows_of(snapshot, households)


def read_fit_windows(samples: Samples, every: int) -> tuple[NDArray[np.int64], list[Behaviours]]:
    """The same at the last fit cutoff and every so many before it, one behind the other.

    Raises:
        TrainerError: If nobody did anything.
    """
    parts = [read_windows(samples, day) for day in samples.calendar.fit_cutoffs()[::-1][::every]]
    windows = [window for _, part in parts for window in part]
    if not windows:
        raise TrainerError(
            "no household that may be learnt from has two behaviours before a fit cutoff: bring more events"
        )
    return np.concatenate([households for households, _ in parts]), windows


def text_interests(samples: Samples) -> Tensor:
    """Row of each text's interest, -1 where it has none, [texts]; by what was bought before validation."""
    catalogue = samples.catalogue()
    interests = np.full(len(samples.texts), -1, dtype=np.int64)
    interests[catalogue.text] = catalogue.interest
    return torch.from_numpy(interests)
