"""A training run on disk: it goes on from there after a kill, to the same weights."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainer.errors import TrainerError


def step_draw(seed: int, step: int) -> np.random.Generator:
    """Chance of one step, of numpy and torch alike, which a run that goes on finds again."""
    torch.manual_seed(seed * 1_000_003 + step)
    return np.random.default_rng([seed, step])


class Checkpoint:
    """One file with everything that a run needs to go on.

    Args:
        path: The file.
        recipe: What the run was asked for; another one's file is refused.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any]) -> None:
        self._path = path
        self._recipe = dict(recipe)

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]) -> None:
        """Write the file whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({"recipe": self._recipe, "progress": dict(progress), **state}, draft)
        draft.replace(self._path)

    def begin(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        fresh: dict[str, Any],
        advance: Callable[[int], None],
        *,
        resume: bool,
    ) -> dict[str, Any]:
        """Where a run begins.

        Args:
            network: Put where the file has it, if the run goes on.
            optimizer: The same.
            fresh: The progress of a run that does not go on.
            advance: Told the steps that are done already.
            resume: Whether the run goes on.

        Raises:
            TrainerError: As ``load``.
        """
        if not resume:
            return fresh
        progress = self.load(network, optimizer)
        advance(progress["step"])
        return progress

    def load(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Put both where the file has them; the progress.

        Raises:
            TrainerError: If there is no file, or it is another recipe's.
        """
        if not self._path.exists():
            raise TrainerError(f"{self._path} is missing, there is nothing to go on from: leave out --resume")
        kept = torch.load(self._path, weights_only=True)
        if kept["recipe"] != self._recipe:
            raise TrainerError(
                f"{self._path} was made by another recipe ({kept['recipe']}): give its options, or leave out --resume"
            )
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        progress: dict[str, Any] = kept["progress"]
        return progress
