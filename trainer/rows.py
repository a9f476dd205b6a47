"""Splits of the samples as the head sees them: raw inputs, and features derived with tables of their time."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.acts import ACTS, acted, draw_acts
from trainer.derived import DerivedFeatures
from trainer.fit_head import TrainingRows
from trainer.head_inputs import Inputs, derive, level_of, read_inputs, without_purchases
from trainer.samples import Samples
from trainer.tables import Tables, department_of, freeze_tables

#: Every so many households come again with purchases hidden, and how much of what they bought is hidden then.
_EVERY_AGAIN: Final = 4
_HIDDEN_RATIO: Final = 0.5
#: So many households of each cutoff are shown with acts, up to a week old.
_ACTS_EACH: Final = 300
_MOST_ACT_DAYS: Final = 7.0


class TextVectors(NamedTuple):
    """Unit vectors of one encoder version."""

    texts: NDArray[np.float32]  # [texts, D] in the order of the samples' texts
    names: NDArray[np.float32]  # [L, D]


class Split(NamedTuple):
    """One cutoff of some households; L interests, F derived features."""

    day: date
    tables: Tables
    inputs: Inputs
    derived: Tensor  # [n, L, F] half


class SplitReader:
    """Reads splits of one samples directory with the vectors of one encoder.

    Args:
        samples: Where to read.
        vectors: What texts and names mean.
        live: Give the tables what was bought until the cutoff itself, as a worker with live counts of all users
            would have it. The served head never has that; it measures what the difference costs.
    """

    def __init__(self, samples: Samples, vectors: TextVectors, *, live: bool = False) -> None:
        self._samples = samples
        self._vectors = vectors
        self._live = live
        self._purchases = samples.purchases()
        self._departments = department_of(samples.catalogue(), samples.texts, len(samples.labels))

    def read(self, day: date, *, held_out: bool) -> Split:
        """One split."""
        tables = self.tables(day if self._live else self._samples.calendar.table_day(day))
        inputs = read_inputs(self._samples, self._purchases, day, self._vectors.texts, held_out=held_out)
        return Split(day, tables, inputs, derive(DerivedFeatures(tables, self._vectors.names), inputs))

    def tables(self, day: date) -> Tables:
        """The frozen tables as of a day."""
        known = self._samples.fit_purchases(day)
        return freeze_tables(known, self._samples.fitted, self._departments, day)

    def read_training_rows(self, splits: Sequence[Split], seed: int) -> TrainingRows:
        """All that a head is taught by: the splits, some again with purchases hidden, and acts."""
        return training_rows(
            splits, self.read_fit_without_purchases(splits, seed), self.read_acts(splits, seed)
        )

    def read_fit_without_purchases(self, splits: Sequence[Split], seed: int) -> list[Split]:
        """A quarter of the splits' households again, half of what they bought shown as weights alone."""
        draw = np.random.default_rng(seed)
        again = []
        for number, split in enumerate(splits):
            rows = np.arange(number % _EVERY_AGAIN, len(split.inputs.households), _EVERY_AGAIN)
            inputs = without_purchases(split.inputs.of(rows), _HIDDEN_RATIO, draw)
            derived = derive(DerivedFeatures(split.tables, self._vectors.names), inputs)
            again.append(Split(split.day, split.tables, inputs, derived))
        return again

    def read_acts(self, splits: Sequence[Split], seed: int) -> Tensor:
        """Derived features of some never bought interests after each of ``ACTS``, [A, acts, F]."""
        draw = np.random.default_rng(seed)
        names = torch.from_numpy(self._vectors.names)
        found = []
        for split in splits:
            derived = DerivedFeatures(split.tables, self._vectors.names)
            raw, interest, age_days = draw_acts(split.inputs, _ACTS_EACH, _MOST_ACT_DAYS, draw)
            rows = torch.arange(len(interest))
            with torch.no_grad():
                after = [derived(*acted(raw, interest, act, age_days, names))[rows, interest] for act in ACTS]
            found.append(torch.stack(after, dim=1))
        return torch.cat(found)

    def read_fit(
        self, every: int = 1, most: int | None = None, advance: Callable[[int], None] = lambda _: None
    ) -> list[Split]:
        """The splits that may be fitted, the latest and every so many before it; at most so many, None for all."""
        splits = []
        for day in self._samples.calendar.fit_cutoffs()[::-1][::every][:most]:
            splits.append(self.read(day, held_out=False))
            advance(1)
        return splits[::-1]


def training_rows(splits: Sequence[Split], hidden: Sequence[Split], acts: Tensor) -> TrainingRows:
    """All rows of the splits, of those with purchases hidden, which say nothing of intent, and what ``read_acts`` gave."""
    both = [*splits, *hidden]
    return TrainingRows(
        derived=torch.cat([split.derived for split in both]),
        bought=torch.cat([split.inputs.bought for split in both]),
        novel=torch.cat([split.inputs.novel for split in both]),
        never=torch.cat([split.inputs.never for split in both]),
        level=torch.cat([level_of(split.inputs) for split in splits]),
        intent=torch.cat([split.inputs.intent for split in splits]),
        acts=acts,
    )
