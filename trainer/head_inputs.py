"""Samples turned into what the head trains on: window vectors pooled, features derived with tables of their time."""

from array import array
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream.features import HISTORY_FEATURES, USER_FEATURES, history_features, window_vectors
from stream.state import UserState
from stream.window import BehaviourWindow
from trainer.dates import DAY_SECONDS, RECENT_DAYS, seconds
from trainer.derived import DerivedFeatures
from trainer.samples import Purchases, Samples, Snapshot, bought_between, outcomes
from trainer.user_level import user_level

_BATCH: Final = 256
_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
#: What the columns from there on say of an interest that was never bought.
_NEVER_BOUGHT: Final = history_features(UserState(), {}, 1, 0)[0, _PURCHASES:]
_FIRST_SEEN: Final = USER_FEATURES.index("days_since_first_seen")


class Masks(NamedTuple):
    """Which interests are candidates, [n, L], and which households are active, [n]."""

    novel: NDArray[np.bool_]
    never: NDArray[np.bool_]
    active: NDArray[np.bool_]


def masks(purchases: Purchases, day: date, shape: tuple[int, int]) -> Masks:
    """Candidates of the variants novel8 and never at a cutoff, over all households."""
    now = seconds(day)
    start = now - RECENT_DAYS * DAY_SECONDS
    recent = (purchases.at_seconds >= start) & (purchases.at_seconds < now)
    active = np.zeros(shape[0], dtype=np.bool_)
    active[purchases.household[recent]] = True
    return Masks(
        novel=~bought_between(purchases, start, now, shape),
        never=~bought_between(purchases, 0, now, shape),
        active=active,
    )


def pooled_windows(snapshot: Snapshot, now_ms: int, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Window vectors [n, K, D] by the function that the worker calls.

    Args:
        snapshot: Of n households.
        now_ms: When it was read.
        vectors: Of all texts, [texts, D].
    """
    pooled = []
    for texts, kinds, occurred in zip(
        snapshot.window_texts, snapshot.window_kinds, snapshot.window_occurred, strict=True
    ):
        length = int((texts >= 0).sum())
        window = BehaviourWindow()
        window.occurred = array("q", occurred[:length].tolist())
        window.kinds = array("B", kinds[:length].tolist())
        pooled.append(window_vectors(window, list(vectors[texts[:length]]), vectors.shape[1], now_ms))
    return np.stack(pooled)


class Inputs(NamedTuple):
    """The head's raw inputs of n households, and the targets."""

    households: NDArray[np.int64]  # rows
    history: Tensor  # [n, L, H]
    user: Tensor  # [n, U]
    window: Tensor  # [n, K, D]
    bought: Tensor  # [n, L] bool
    intent: Tensor  # [n, 3] bool
    novel: Tensor  # [n, L] bool
    never: Tensor  # [n, L] bool
    active: NDArray[np.bool_]  # [n]

    def of(self, rows: NDArray[np.int64]) -> "Inputs":
        """The same of some of the households."""
        return Inputs(
            households=self.households[rows],
            history=self.history[rows],
            user=self.user[rows],
            window=self.window[rows],
            bought=self.bought[rows],
            intent=self.intent[rows],
            novel=self.novel[rows],
            never=self.never[rows],
            active=self.active[rows],
        )


def without_purchases(inputs: Inputs, ratio: float, draw: np.random.Generator) -> Inputs:
    """The same with some bought interests shown as if their weight came from clicks, carts and searches.

    The data has purchases only, so a weight without a purchase never occurs in it; a network that never saw one makes
    too much of it. With the count, the dates and the gaps hidden, a weight means what it means after a purchase.

    Args:
        inputs: Of n households.
        ratio: Share of the bought interests to hide.
        draw: What to hide.
    """
    history = inputs.history.clone()
    chosen = draw.random(history.shape[:2]) < ratio
    hidden = torch.from_numpy(chosen) & (history[..., _PURCHASES] > 0)
    history[..., _PURCHASES:][hidden] = torch.from_numpy(_NEVER_BOUGHT)
    return inputs._replace(history=history)


def read_inputs(
    samples: Samples, purchases: Purchases, day: date, vectors: NDArray[np.float32], *, held_out: bool
) -> Inputs:
    """The inputs of the held-out households, or of those to learn from, that were seen before a cutoff."""
    everyone = samples.snapshot(day)
    seen = everyone.user[:, _FIRST_SEEN] > 0
    households = np.flatnonzero(seen & (samples.held_out if held_out else samples.fitted))
    snapshot = everyone.of(households)
    candidates = masks(purchases, day, samples.shape)
    bought, intent = outcomes(purchases, day, samples.shape)
    return Inputs(
        households=households,
        history=torch.from_numpy(snapshot.history).float(),
        user=torch.from_numpy(snapshot.user),
        window=torch.from_numpy(pooled_windows(snapshot, seconds(day) * 1000, vectors)),
        bought=torch.from_numpy(bought[households]),
        intent=torch.from_numpy(intent[households]),
        novel=torch.from_numpy(candidates.novel[households]),
        never=torch.from_numpy(candidates.never[households]),
        active=candidates.active[households],
    )


def derive(features: DerivedFeatures, inputs: Inputs) -> Tensor:
    """Derived features [n, L, F] in half precision, in pieces to bound the memory."""
    with torch.no_grad():
        pieces = [
            features(
                inputs.history[start : start + _BATCH],
                inputs.user[start : start + _BATCH],
                inputs.window[start : start + _BATCH],
            ).half()
            for start in range(0, len(inputs.history), _BATCH)
        ]
    return torch.cat(pieces)


def level_of(inputs: Inputs) -> Tensor:
    """What purchase intent is told of n households, [n, ``USER_LEVEL``], in pieces to bound the memory."""
    return torch.cat(
        [
            user_level(inputs.history[start : start + _BATCH], inputs.user[start : start + _BATCH])
            for start in range(0, len(inputs.history), _BATCH)
        ]
    )
