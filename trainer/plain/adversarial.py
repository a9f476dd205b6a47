"""A Hugging Face Trainer that can also train on what would mislead the model most, and that feeds AdaLoRA.

FGM: the word vectors are moved a small way along the loss's gradient, and the loss there counts too.
Source: Miyato, Dai, Goodfellow 2017, Adversarial Training Methods for Semi-Supervised Text Classification.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import AdaLoraConfig
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class AdversarialTrainer(Trainer):
    """As Trainer, with FGM where ``epsilon`` is more than 0.

    Args:
        epsilon: How far the word vectors are moved, as a length over the whole table; 0 for not at all.
        given: As Trainer's.
    """

    def __init__(self, *, epsilon: float = 0.0, **given: Any) -> None:
        super().__init__(**given)
        self._epsilon = epsilon

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """The loss of the batch; gradients add up those of the misled model."""
        loss: Tensor = super().training_step(model, dict(inputs), num_items_in_batch)
        if not self._epsilon:
            return loss
        words = _word_vectors(model)
        moved = self._move(words)
        if moved is not None:
            super().training_step(model, dict(inputs), num_items_in_batch)
            with torch.no_grad():
                words.sub_(moved)
        return loss

    def _move(self, words: Tensor) -> Tensor | None:
        """Move the word vectors up the loss; by how much, or None where there is no slope."""
        if words.grad is None:
            return None
        length = words.grad.norm()
        if not bool(torch.isfinite(length)) or float(length) == 0.0:
            return None
        moved: Tensor = words.grad * (self._epsilon / length)
        with torch.no_grad():
            words.add_(moved)
        return moved

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        with _all_ranks(self.model):
            super()._save(output_dir, state_dict)

    def _load_best_model(self) -> None:
        with _all_ranks(self.model):
            super()._load_best_model()


@contextmanager
def _all_ranks(model: Any) -> Iterator[None]:
    """AdaLoRA's weights as they are trained, with those of the ranks that it took away, which it holds at zero.

    peft would leave those out by the ranks of the moment, and could not read an earlier checkpoint once they have moved on.
    """
    configs = [one for one in getattr(model, "peft_config", {}).values() if isinstance(one, AdaLoraConfig)]
    patterns = [config.rank_pattern for config in configs]
    for config in configs:
        config.rank_pattern = None
    try:
        yield
    finally:
        for config, pattern in zip(configs, patterns, strict=True):
            config.rank_pattern = pattern


class RankAllocation(TrainerCallback):
    """Tells AdaLoRA of each step, which peft leaves to the loop."""

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Hand out ranks after the step, so that it moves none that was taken away, and while the gradients are there."""
        del args, control
        parts["model"].base_model.update_and_allocate(state.global_step)


def _word_vectors(model: nn.Module) -> Tensor:
    (words,) = (
        weights for name, weights in model.named_parameters() if name.endswith("word_embeddings.weight")
    )
    return words
