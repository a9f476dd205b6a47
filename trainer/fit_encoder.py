"""Fine-tuning of the encoder: its similarities within a batch follow the teacher's.

The length is a number of steps, not of seconds, so that a seed gives the same weights again on the same machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from trainer.checkpoint import Checkpoint
from trainer.copurchase import Lesson
from trainer.encoder import BehaviourEncoder, batches_by_length, tokenize

#: A batch is encoded in so many parts.
_PARTS: Final = 4
#: A run is kept after every so many steps.
_KEPT_EVERY: Final = 40


@dataclass(frozen=True, slots=True)
class EncoderRecipe:
    """How long and how fast."""

    steps: int = 240
    batch: int = 128
    learning_rate: float = 1e-4
    warmup_steps: int = 20
    weight_decay: float = 0.01
    #: Sharpness of the encoder's and of the teacher's similarities.
    temperature: float = 0.07
    teacher_temperature: float = 0.1
    #: Of an item's image against its text, if the samples have images; 0: texts alone.
    image_weight: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told of a run's steps and losses, where it is kept, and whether it goes on from there."""

    advance: Callable[[int], None] = lambda _: None
    tell_loss: Callable[[float], None] = lambda _: None
    checkpoint: Checkpoint | None = None
    resume: bool = False


def fit_encoder(
    encoder: BehaviourEncoder,
    tokenizer: Tokenizer,
    lesson: Lesson,
    recipe: EncoderRecipe,
    watch: Watch,
) -> float:
    """Fine-tune in place; the mean loss of the last tenth of the steps. Word vectors stay as they are.

    Words that no text of this shop has would otherwise be left behind, and other shops need them. A run that goes on comes to the
    weights of one that was never ended.

    Raises:
        TrainerError: If there is nothing to go on from.
    """
    share = lesson.weights[lesson.fit] / lesson.weights[lesson.fit].sum()
    teacher = torch.from_numpy(lesson.teacher)
    batch = min(recipe.batch, int((share > 0.0).sum()))

    def loss(draw: np.random.Generator) -> Tensor:
        rows = draw.choice(lesson.fit, batch, replace=False, p=share)
        texts = [lesson.texts[row] for row in rows]
        parts = list(batches_by_length(texts, -(-batch // _PARTS)))
        vectors = torch.cat([encoder(*tokenize(tokenizer, [texts[row] for row in part])) for part in parts])
        wanted = teacher[rows[np.concatenate(parts)]]
        return disagreement(vectors, wanted, recipe.temperature, recipe.teacher_temperature)

    return descend(encoder, recipe, loss, watch)


def descend(
    encoder: BehaviourEncoder,
    recipe: EncoderRecipe,
    batch_loss: Callable[[np.random.Generator], Tensor],
    watch: Watch,
) -> float:
    """AdamW on the loss of one batch after the other, all weights but the word vectors; the mean loss of the last tenth."""
    draw = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    encoder.bert.embeddings.requires_grad_(requires_grad=False)
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    run = _Run(encoder, optimizer, schedule, draw)
    losses = run.begin(watch)
    encoder.train()
    while len(losses) < recipe.steps:
        loss = batch_loss(draw)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        watch.tell_loss(losses[-1])
        if watch.checkpoint and (len(losses) % _KEPT_EVERY == 0 or len(losses) == recipe.steps):
            run.keep(watch.checkpoint, losses)
        watch.advance(1)
    encoder.eval()
    return float(np.mean(losses[-max(recipe.steps // 10, 1) :]))


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything of a run that its next step depends on."""

    encoder: BehaviourEncoder
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    draw: np.random.Generator

    def begin(self, watch: Watch) -> list[float]:
        """Put the run where it stood, if it goes on; the losses until then."""
        if watch.checkpoint is None or not watch.resume:
            return []
        stood = watch.checkpoint.load(self.encoder, self.optimizer)
        self.schedule.load_state_dict(stood["schedule"])
        torch.set_rng_state(stood["torch"])
        self.draw.bit_generator.state = stood["numpy"]
        losses: list[float] = stood["losses"]
        watch.advance(len(losses))
        for loss in losses:  # a tracker counts its steps by what it is told
            watch.tell_loss(loss)
        return losses

    def keep(self, checkpoint: Checkpoint, losses: list[float]) -> None:
        """Write it down."""
        stands = {
            "losses": losses,
            "schedule": self.schedule.state_dict(),
            "torch": torch.get_rng_state(),
            "numpy": dict(self.draw.bit_generator.state),
        }
        checkpoint.save(self.encoder, self.optimizer, stands)


def _rate(step: int, recipe: EncoderRecipe) -> float:
    return min(1.0, (step + 1) / recipe.warmup_steps) * max(0.05, 1.0 - step / recipe.steps)


def disagreement(vectors: Tensor, teacher: Tensor, temperature: float, teacher_temperature: float) -> Tensor:
    """Cross-entropy between the teacher's and the encoder's choice of neighbours within the batch; not of oneself."""
    itself = torch.eye(len(vectors)) * -1e4
    wanted = torch.softmax(teacher @ teacher.T / teacher_temperature + itself, dim=1)
    given = torch.log_softmax(vectors @ vectors.T / temperature + itself, dim=1)
    return -(wanted * given).sum(dim=1).mean()
