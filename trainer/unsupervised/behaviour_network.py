"""A small network that reads behaviours in order: a transformer, or a GRU or LSTM as the simple references.

Shapes: B users, T places (oldest first, empty ones behind), V dimensions of a text, D of the network, L interests.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn

from stream.events import EVENT_TYPES
from trainer.unsupervised.sequences import Sequences

EncoderName = Literal["transformer", "gru", "lstm"]
ENCODERS: Final[tuple[EncoderName, ...]] = get_args(EncoderName)
_HEADS: Final = 4


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """How large it is.

    Attributes:
        encoder: What reads the sequence.
        places: T at most.
        dimensions: D.
        layers: Of the encoder.
        dropout: In every layer.
        both_ways: Whether a place sees what comes after it.
    """

    encoder: EncoderName = "transformer"
    places: int = 64
    dimensions: int = 64
    layers: int = 2
    dropout: float = 0.1
    both_ways: bool = False


class BehaviourNetwork(nn.Module):
    """States of behaviours, and what interest each place is of.

    Args:
        vectors: Of all texts, frozen, [texts, V].
        labels: L.
        shape: How large.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, labels: int, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.dimensions
        self.register_buffer("vectors", vectors, persistent=False)
        self.text = nn.Linear(vectors.shape[1], width)
        self.kind = nn.Embedding(len(EVENT_TYPES), width)
        self.gap = nn.Linear(1, width)
        self.place = nn.Parameter(torch.randn(shape.places, width) * 0.02)
        self.hidden = nn.Parameter(torch.randn(width) * 0.02)
        self.dropout = nn.Dropout(shape.dropout)
        self.reader = _reader(shape)
        self.interest = nn.Linear(width, labels)

    def forward(self, seen: Sequences, hidden: Tensor | None = None) -> Tensor:
        """States [B, T, D].

        Args:
            seen: B of them.
            hidden: Places whose text and kind are not shown, [B, T].
        """
        is_empty = seen.texts < 0
        told = self.text(self.vectors[seen.texts.clamp(min=0)]) + self.kind(seen.kinds)  # [B, T, D]
        if hidden is not None:
            told = torch.where(hidden[..., None], self.hidden, told)
            is_empty &= ~hidden
        told = told + self.gap(seen.gaps[..., None]) + self.place[: seen.texts.shape[1]]
        told = self.dropout(torch.where(is_empty[..., None], 0.0, told))
        if isinstance(self.reader, nn.TransformerEncoder):
            later = None if self.shape.both_ways else _later(seen.texts.shape[1])
            found: Tensor = self.reader(told, mask=later, src_key_padding_mask=is_empty)
            return found
        states, _ = self.reader(told)
        return states if not self.shape.both_ways else _both(states)

    def logits(self, states: Tensor) -> Tensor:
        """Of the interests, [..., L]."""
        found: Tensor = self.interest(states)
        return found


def mean_state(states: Tensor, seen: Sequences) -> Tensor:
    """The mean over the places that are not empty, [B, D]."""
    there = (seen.texts >= 0).float()[..., None]
    return (states * there).sum(dim=1) / there.sum(dim=1).clamp(min=1.0)


def _reader(shape: NetworkShape) -> Any:
    width = shape.dimensions
    if shape.encoder == "transformer":
        block = nn.TransformerEncoderLayer(
            width, _HEADS, 2 * width, shape.dropout, batch_first=True, norm_first=True
        )
        return nn.TransformerEncoder(block, shape.layers, enable_nested_tensor=False)
    kind = {"gru": nn.GRU, "lstm": nn.LSTM}[shape.encoder]
    dropout = shape.dropout if shape.layers > 1 else 0.0
    return kind(width, width, shape.layers, batch_first=True, dropout=dropout, bidirectional=shape.both_ways)


def _later(places: int) -> Tensor:
    """True where a place may not look, [T, T]."""
    return torch.triu(torch.ones(places, places, dtype=torch.bool), diagonal=1)


def _both(states: Tensor) -> Tensor:
    """The two directions of a recurrent network, added, [B, T, D]."""
    forward, backward = states.chunk(2, dim=-1)
    return forward + backward
