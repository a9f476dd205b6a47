"""Contrastive learning of users: two augmentations of one window are to lie together, those of others apart.

Source: Chen et al. 2020, A Simple Framework for Contrastive Learning (NT-Xent); Xie et al. 2022, Contrastive Learning for
Sequential Recommendation.

Shapes: B users, T places, D dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.augmentation import AUGMENTATIONS, Alter, Augmentation, Behaviours
from trainer.checkpoint import Checkpoint, step_draw
from trainer.unsupervised.behaviour_network import BehaviourNetwork, EncoderName, NetworkShape, mean_state
from trainer.unsupervised.sequences import Sequences, padded

_BATCH: Final = 256
#: Checkpoints of a run.
_KEPT_EVERY: Final = 50


@dataclass(frozen=True, slots=True)
class ContrastRecipe:
    """Everything that decides what the network becomes.

    Attributes:
        augmentations: One of them is drawn for each window.
        encoder: What reads a window.
        steps: Batches.
        batch: Users, each with two windows.
        temperature: Of the softmax over the other windows.
        learning_rate: Of AdamW.
        seed: Of everything.
    """

    augmentations: tuple[Augmentation, ...] = AUGMENTATIONS
    encoder: EncoderName = "transformer"
    steps: int = 300
    batch: int = 128
    temperature: float = 0.2
    learning_rate: float = 1e-3
    seed: int = 0


class Pairs(NamedTuple):
    """What is learnt from."""

    households: NDArray[np.int64]  # [n] rows
    windows: Sequence[Behaviours]  # n
    alter: Alter
    #: Of all texts and their synonyms, unit length, [texts, V].
    vectors: Tensor
    places: int


class ContrastNetwork(nn.Module):
    """A network over behaviours, and the small one behind it that is thrown away after training."""

    def __init__(self, vectors: Tensor, shape: NetworkShape) -> None:
        super().__init__()
        self.behaviours = BehaviourNetwork(vectors, 1, shape)
        width = shape.dimensions
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def users(self, seen: Sequences) -> Tensor:
        """User vectors [B, D]."""
        return mean_state(self.behaviours(seen), seen)

    def forward(self, seen: Sequences) -> Tensor:
        """Unit vectors that are compared, [B, D]."""
        return nn.functional.normalize(self.projection(self.users(seen)), dim=-1)


def nt_xent(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding a window's partner among all other windows of the batch; unit vectors [B, D] each."""
    both = torch.cat([one, other])
    cosine = both @ both.T / temperature  # [2B, 2B]
    cosine = cosine.masked_fill(torch.eye(len(both), dtype=torch.bool), -torch.inf)
    partner = torch.arange(len(both)).roll(len(one))
    return nn.functional.cross_entropy(cosine, partner)


def new_contrast(pairs: Pairs, recipe: ContrastRecipe) -> ContrastNetwork:
    """An untrained network."""
    torch.manual_seed(recipe.seed)
    return ContrastNetwork(pairs.vectors, NetworkShape(recipe.encoder, places=pairs.places, both_ways=True))


def fit_contrast(
    pairs: Pairs,
    recipe: ContrastRecipe,
    path: Path,
    *,
    resume: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[ContrastNetwork, dict[str, Any]]:
    """The network and the curve of its loss.

    Args:
        pairs: What to learn from.
        recipe: How.
        path: Keeps the run.
        resume: Go on from ``path``.
        advance: Told finished steps.

    Raises:
        TrainerError: If there is nothing to go on from.
    """
    network = new_contrast(pairs, recipe)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    checkpoint = Checkpoint(path, {**asdict(recipe), "augmentations": list(recipe.augmentations)})
    progress = checkpoint.begin(network, optimizer, {"step": 0, "curve": []}, advance, resume=resume)
    rows_of = _rows_by_household(pairs.households)
    network.train()
    while progress["step"] < recipe.steps:
        step = progress["step"]
        draw = step_draw(recipe.seed, step)
        one, other = _two_views(pairs, rows_of, recipe, draw)
        loss = nt_xent(network(one), network(other), recipe.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress["step"] = step + 1
        advance(1)
        if (step + 1) % _KEPT_EVERY == 0 or step + 1 == recipe.steps:
            progress["curve"].append([step + 1, float(loss.detach())])
            checkpoint.save(network, optimizer, progress)
    network.eval()
    return network, {"recipe": asdict(recipe), "steps": progress["step"], "curve": progress["curve"]}


def user_states(network: ContrastNetwork, sequences: Sequences) -> NDArray[np.float32]:
    """User vectors [n, D] of whole windows."""
    pieces = []
    network.eval()
    for start in range(0, len(sequences.households), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(sequences.households)))
        with torch.no_grad():
            pieces.append(network.users(sequences.of(rows)).numpy())
    return np.concatenate(pieces).astype(np.float32)


def _rows_by_household(households: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    order = np.argsort(households, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(households[order])) + 1)


def _two_views(
    pairs: Pairs, rows_of: list[NDArray[np.int64]], recipe: ContrastRecipe, draw: np.random.Generator
) -> tuple[Sequences, Sequences]:
    """Two augmentations of one window each of different households: a household is never its own rival."""
    chosen = draw.choice(len(rows_of), min(recipe.batch, len(rows_of)), replace=False)
    rows = np.array([draw.choice(rows_of[household]) for household in chosen])
    views = [[pairs.alter(pairs.windows[row], draw) for row in rows] for _ in range(2)]
    one, other = (padded(pairs.households[rows], view, pairs.places) for view in views)
    return one, other
