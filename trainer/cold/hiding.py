"""Groups of categories hidden: a shop as it would look if it had never sold them.

Hidden is what was ever bought of them: in the households' histories, windows and counts, and in the tables of all shoppers.
What stays is that an order fell on a day, whatever it held.

Shapes: n households, L categories, F derived features.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream.features import HISTORY_FEATURES, USER_FEATURES, history_features
from stream.state import UserState
from trainer.dates import seconds
from trainer.derived import DerivedFeatures
from trainer.head_inputs import derive, pooled_windows
from trainer.rows import Split, TextVectors
from trainer.samples import Samples
from trainer.tables import Tables, freeze_tables

GROUPS: Final = 5
_NEVER_BOUGHT: Final = history_features(UserState(), {}, 1, 0)[0]
_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
_WEIGHT_56D: Final = HISTORY_FEATURES.index("decayed_weight_56d")
_CATEGORIES_COUNT: Final = USER_FEATURES.index("purchased_categories")
_TOTAL_56D: Final = USER_FEATURES.index("decayed_weight_total_56d")
_WINDOW_COUNT: Final = USER_FEATURES.index("window_behaviours")


def group_of(category: str) -> int:
    """The group that a category is dealt into."""
    return int(sha256(f"cold:{category}".encode()).hexdigest()[:8], 16) % GROUPS


class Hiding:
    """Deals the categories of a shop into groups, and hides some of these.

    Args:
        samples: Of the shop.
        vectors: Of its texts and names.
    """

    def __init__(self, samples: Samples, vectors: TextVectors) -> None:
        self._samples = samples
        self._vectors = vectors
        #: Which group each category is in, [L].
        self.group: NDArray[np.int64] = np.array([group_of(name) for name in samples.labels.names])
        known = samples.catalogue()
        some = known.interest >= 0
        self._group_of_text = np.full(len(samples.texts), -1, dtype=np.int64)
        self._group_of_text[known.text[some]] = self.group[known.interest[some]]

    def derived(self, split: Split, groups: Sequence[int]) -> Tensor:
        """Derived features [n, L, F] half, as if these groups had never been sold."""
        hidden = np.isin(self.group, groups)
        texts = np.isin(self._group_of_text, groups)
        snapshot = self._samples.snapshot(split.day).of(split.inputs.households)
        seen = np.where(texts[:, None], np.float32(0), self._vectors.texts)
        history = split.inputs.history.clone()
        history[:, torch.from_numpy(hidden)] = torch.from_numpy(_NEVER_BOUGHT)
        inputs = split.inputs._replace(
            history=history,
            user=_user(split, history, snapshot.window_texts, texts),
            window=torch.from_numpy(pooled_windows(snapshot, seconds(split.day) * 1000, seen)),
        )
        return derive(DerivedFeatures(self._tables(split, hidden), self._vectors.names), inputs)

    def _tables(self, split: Split, hidden: NDArray[np.bool_]) -> Tables:
        day = self._samples.calendar.table_day(split.day)
        known = self._samples.fit_purchases(day)
        gone = (known.interest >= 0) & hidden[known.interest]
        left = known._replace(interest=np.where(gone, np.int32(-1), known.interest))
        return freeze_tables(left, self._samples.fitted, split.tables.departments, day)


def _user(
    split: Split, left: Tensor, window_texts: NDArray[np.int32], hidden_texts: NDArray[np.bool_]
) -> Tensor:
    """What a household is like as a whole [n, U], counted from what is left of its history [n, L, H] and window [n, W]."""
    user = split.inputs.user.clone()
    behaviours = ((window_texts >= 0) & ~hidden_texts[window_texts]).sum(axis=1)
    user[:, _CATEGORIES_COUNT] = (left[..., _PURCHASES] > 0).sum(dim=1).to(user.dtype)
    user[:, _TOTAL_56D] = left[..., _WEIGHT_56D].sum(dim=1)
    user[:, _WINDOW_COUNT] = torch.from_numpy(behaviours).to(user.dtype)
    return user
