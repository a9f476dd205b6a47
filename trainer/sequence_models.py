"""Sequence recommenders over the interests a household bought, in order: GRU4Rec and SASRec, small, without text.

Both read the last purchases and say at every place what is bought next, over all L interests.
Sources: Hidasi et al. 2016, Session-based recommendations with recurrent neural networks; Kang and McAuley 2018,
Self-attentive sequential recommendation.

Shapes: B households, T places (the newest last, padded in front with L), L interests, D dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.dates import seconds
from trainer.samples import Purchases

_PLACES: Final = 100
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class SequenceRecipe:
    """How both are fitted; some two minutes each on one core."""

    steps: int = 800
    dimensions: int = 64
    learning_rate: float = 3e-3
    dropout: float = 0.2
    seed: int = 0


class Gru4Rec(nn.Module):
    """A recurrent network; what it says of an interest is its state times the interest's vector."""

    def __init__(self, labels: int, recipe: SequenceRecipe) -> None:
        super().__init__()
        self.items = nn.Embedding(labels + 1, recipe.dimensions, padding_idx=labels)
        self.dropout = nn.Dropout(recipe.dropout)
        self.reader = nn.GRU(recipe.dimensions, recipe.dimensions, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, places: Tensor) -> Tensor:
        """Logits [B, T, L] of interests [B, T]."""
        states, _ = self.reader(self.dropout(self.items(places)))
        logits: Tensor = self.dropout(states) @ self.items.weight[:-1].T + self.bias
        return logits


class SasRec(nn.Module):
    """Two blocks of causal self-attention over the same vectors."""

    def __init__(self, labels: int, recipe: SequenceRecipe) -> None:
        super().__init__()
        self.items = nn.Embedding(labels + 1, recipe.dimensions, padding_idx=labels)
        self.positions = nn.Parameter(torch.randn(_PLACES, recipe.dimensions) * 0.02)
        self.dropout = nn.Dropout(recipe.dropout)
        block = nn.TransformerEncoderLayer(
            recipe.dimensions, 2, 2 * recipe.dimensions, recipe.dropout, batch_first=True, norm_first=True
        )
        self.reader = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.bias = nn.Parameter(torch.zeros(labels))
        later = torch.triu(torch.full((_PLACES, _PLACES), -torch.inf), diagonal=1)
        self.register_buffer("later", later, persistent=False)

    def forward(self, places: Tensor) -> Tensor:
        """Logits [B, T, L] of interests [B, T]."""
        length = places.shape[1]
        seen = self.dropout(self.items(places) + self.positions[-length:])
        states = self.reader(seen, mask=self.get_buffer("later")[:length, :length])
        logits: Tensor = states @ self.items.weight[:-1].T + self.bias
        return logits


class Histories:
    """What each household bought, in time order, each interest once per basket."""

    def __init__(self, purchases: Purchases, labels: int) -> None:
        known = np.flatnonzero(purchases.interest >= 0)
        keys = np.stack([purchases.basket[known], purchases.interest[known]])
        _, first = np.unique(keys, axis=1, return_index=True)
        rows = known[first]
        rows = rows[np.lexsort((purchases.at_seconds[rows], purchases.household[rows]))]
        self.labels = labels
        self._household = purchases.household[rows]
        self._interest = purchases.interest[rows].astype(np.int64)
        self._at = purchases.at_seconds[rows]

    def of(self, household: int, before: date) -> NDArray[np.int64]:
        """The interests of one household before a midnight."""
        start, end = np.searchsorted(self._household, [household, household + 1])
        end = start + int(np.searchsorted(self._at[start:end], seconds(before)))
        return self._interest[start:end]

    def lessons(self, households: NDArray[np.int64], before: date) -> list[NDArray[np.int64]]:
        """The interests of each household before a midnight, of those that have at least two to learn from."""
        sequences = [self.of(int(household), before) for household in households]
        return [sequence for sequence in sequences if len(sequence) > 1]

    def padded(self, sequences: list[NDArray[np.int64]], places: int) -> Tensor:
        """The last places of each, [B, places]."""
        out = np.full((len(sequences), places), self.labels, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            last = sequence[-places:]
            out[row, places - len(last) :] = last
        return torch.from_numpy(out)


def fit_sequence_model(
    model: nn.Module,
    histories: Histories,
    sequences: Sequence[NDArray[np.int64]],
    recipe: SequenceRecipe,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Teach a model what comes next in ``Histories.lessons``; ``advance`` is told finished steps."""
    draw = np.random.default_rng(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.steps + 1)
    model.train()
    for _ in range(recipe.steps):
        chosen = [sequences[row] for row in draw.integers(0, len(sequences), _BATCH)]
        ends = [int(draw.integers(2, len(sequence) + 1)) for sequence in chosen]
        cut = [sequence[:end] for sequence, end in zip(chosen, ends, strict=True)]
        places = histories.padded(cut, _PLACES + 1)
        logits = model(places[:, :-1])  # [B, T, L]
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), places[:, 1:].flatten(), ignore_index=histories.labels
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
            pieces.append(model(histories.padded(chosen, _PLACES))[:, -1])
    return np.asarray(torch.cat(pieces).numpy(), dtype=np.float32)
