"""Sequence recommenders over the interests a household bought, in order: GRU4Rec and SASRec, small, without text.

Both read the last purchases and say at every place what is bought next, over all L interests. A basket has no order of its own:
each step shuffles it anew.
Sources: Hidasi et al. 2016, Session-based recommendations with recurrent neural networks; Kang and McAuley 2018,
Self-attentive sequential recommendation.

Shapes: B households, T places (the newest last, padded in front with L), L interests, D dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.dates import seconds
from trainer.samples import Purchases

_PLACES: Final = 100
_BATCH: Final = 64
_VECTOR_STD: Final = 0.05
#: Of SASRec's attention.
_HEADS: Final = 2


@dataclass(frozen=True, slots=True)
class SequenceRecipe:
    """How both are fitted; some three and eight minutes on one core."""

    steps: int = 2000
    dimensions: int = 64
    learning_rate: float = 3e-3
    dropout: float = 0.2
    seed: int = 0


def _vectors(labels: int, dimensions: int) -> nn.Embedding:
    """Short ones to begin with: scores are their products with a state, and long ones are sure of what nobody has taught them."""
    vectors = nn.Embedding(labels + 1, dimensions, padding_idx=labels)
    nn.init.normal_(vectors.weight[:-1], std=_VECTOR_STD)
    return vectors


class Gru4Rec(nn.Module):
    """A recurrent network; what it says of an interest is its state times the interest's vector."""

    def __init__(self, labels: int, recipe: SequenceRecipe) -> None:
        super().__init__()
        self.items = _vectors(labels, recipe.dimensions)
        self.dropout = nn.Dropout(recipe.dropout)
        self.reader = nn.GRU(recipe.dimensions, recipe.dimensions, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, places: Tensor) -> Tensor:
        """Logits [B, T, L] of interests [B, T]."""
        states, _ = self.reader(self.dropout(self.items(places)))
        logits: Tensor = self.dropout(states) @ self.items.weight[:-1].T + self.bias
        return logits


class SasRec(nn.Module):
    """Two blocks of causal self-attention over the same vectors; nobody attends to padding."""

    def __init__(self, labels: int, recipe: SequenceRecipe) -> None:
        super().__init__()
        self._labels = labels
        self.items = _vectors(labels, recipe.dimensions)
        self.positions = nn.Parameter(torch.randn(_PLACES, recipe.dimensions) * 0.02)
        self.dropout = nn.Dropout(recipe.dropout)
        block = nn.TransformerEncoderLayer(
            recipe.dimensions,
            _HEADS,
            2 * recipe.dimensions,
            recipe.dropout,
            batch_first=True,
            norm_first=True,
        )
        self.reader = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, places: Tensor) -> Tensor:
        """Logits [B, T, L] of interests [B, T]."""
        length = places.shape[1]
        seen = self.dropout(self.items(places) + self.positions[-length:])
        states = self.reader(seen, mask=self._unseen(places))
        logits: Tensor = states @ self.items.weight[:-1].T + self.bias
        return logits

    def _unseen(self, places: Tensor) -> Tensor:
        """What each place can't attend to, [B * heads, T, T]: later ones and padding; padding sees itself, for it must see something."""
        length = places.shape[1]
        later = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        padding = torch.eq(places, self._labels)[:, None, :] & ~torch.eye(length, dtype=torch.bool)
        return torch.logical_or(later, padding).repeat_interleave(_HEADS, dim=0)


class History(NamedTuple):
    """What one household bought, in time order, each interest once per basket."""

    interest: NDArray[np.int64]  # [n]
    #: Numbers of its baskets, ascending.
    basket: NDArray[np.int64]  # [n]

    def shuffled(self, draw: np.random.Generator) -> NDArray[np.int64]:
        """The interests, those of each basket in a drawn order."""
        return self.interest[np.lexsort((draw.random(len(self.interest)), self.basket))]


class Histories:
    """What each household bought before a day."""

    def __init__(self, purchases: Purchases, labels: int) -> None:
        known = np.flatnonzero(purchases.interest >= 0)
        keys = np.stack([purchases.basket[known], purchases.interest[known]])
        _, first = np.unique(keys, axis=1, return_index=True)
        rows = known[first]
        order = purchases.basket[rows], purchases.at_seconds[rows], purchases.household[rows]
        rows = rows[np.lexsort(order)]
        self.labels = labels
        self._household = purchases.household[rows]
        self._interest = purchases.interest[rows].astype(np.int64)
        self._basket = np.cumsum(np.diff(purchases.basket[rows].astype(np.int64), prepend=-1) != 0)
        self._at = purchases.at_seconds[rows]

    def of(self, household: int, before: date) -> History:
        """Of one household before a midnight."""
        start, end = np.searchsorted(self._household, [household, household + 1])
        end = start + int(np.searchsorted(self._at[start:end], seconds(before)))
        return History(self._interest[start:end], self._basket[start:end])

    def lessons(self, households: NDArray[np.int64], before: date) -> list[History]:
        """Of each household before a midnight, of those that have at least two interests to learn from."""
        histories = [self.of(int(household), before) for household in households]
        return [history for history in histories if len(history.interest) > 1]

    def padded(self, sequences: Sequence[NDArray[np.int64]]) -> Tensor:
        """The last places of each, [B, T]."""
        out = np.full((len(sequences), _PLACES), self.labels, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            last = sequence[-_PLACES:]
            out[row, _PLACES - len(last) :] = last
        return torch.from_numpy(out)


def fit_sequence_model(
    model: nn.Module,
    histories: Histories,
    lessons: Sequence[History],
    recipe: SequenceRecipe,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Teach a model what comes next in ``Histories.lessons``; ``advance`` is told finished steps."""
    draw = np.random.default_rng(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.steps + 1)
    model.train()
    for _ in range(recipe.steps):
        chosen = [lessons[row] for row in draw.integers(0, len(lessons), _BATCH)]
        bought = [lesson.shuffled(draw)[: draw.integers(2, len(lesson.interest) + 1)] for lesson in chosen]
        logits = model(histories.padded([sequence[:-1] for sequence in bought]))  # [B, T, L]
        targets = histories.padded([sequence[1:] for sequence in bought])
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=histories.labels
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        advance(1)
    model.eval()


def predict_next(
    model: nn.Module, histories: Histories, households: NDArray[np.int64], day: date
) -> NDArray[np.float32]:
    """Logits [n, L] of what is bought after a midnight."""
    pieces = []
    with torch.no_grad():
        for start in range(0, len(households), _BATCH):
            chosen = [histories.of(int(household), day) for household in households[start : start + _BATCH]]
            pieces.append(model(histories.padded([history.interest for history in chosen]))[:, -1])
    return np.asarray(torch.cat(pieces).numpy(), dtype=np.float32)
