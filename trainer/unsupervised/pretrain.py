"""Pre-training on behaviours without labels: guess hidden ones from both sides, or each from those before it.

Sources: Sun et al. 2019, BERT4Rec (masked); Hidasi et al. 2016, GRU4Rec and Kang and McAuley 2018, SASRec (next).

Shapes: B users, T places, L interests.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.checkpoint import Checkpoint, step_draw
from trainer.unsupervised.behaviour_network import BehaviourNetwork, EncoderName, NetworkShape
from trainer.unsupervised.sequences import Sequences

Objective = Literal["masked", "next"]
OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)
#: Of the households; early stopping looks at them, and nothing is learnt from them.
_WATCHED_RATIO: Final = 0.1
_NO_INTEREST: Final = -1


@dataclass(frozen=True, slots=True)
class PretrainRecipe:
    """Everything that decides what the network becomes.

    Attributes:
        objective: What is guessed.
        encoder: What reads the sequence.
        steps: Batches at most.
        batch: Users.
        look_every: Steps between two looks at the loss of the watched households.
        patience: Looks without a better loss after which training stops.
        hidden_ratio: Of the behaviours, for ``masked``.
        learning_rate: Of AdamW.
        seed: Of everything.
    """

    objective: Objective = "next"
    encoder: EncoderName = "transformer"
    steps: int = 600
    batch: int = 64
    look_every: int = 50
    patience: int = 3
    hidden_ratio: float = 0.2
    learning_rate: float = 2e-3
    seed: int = 0


class Lesson(NamedTuple):
    """What is learnt from."""

    sequences: Sequences
    #: Of all texts, unit length, [texts, V].
    vectors: Tensor
    #: Row of each text's interest or -1, [texts].
    interests: Tensor
    labels: int


def new_network(lesson: Lesson, recipe: PretrainRecipe) -> BehaviourNetwork:
    """An untrained network."""
    torch.manual_seed(recipe.seed)
    shape = NetworkShape(
        recipe.encoder, places=lesson.sequences.texts.shape[1], both_ways=recipe.objective == "masked"
    )
    return BehaviourNetwork(lesson.vectors, lesson.labels, shape)


def pretrain(
    lesson: Lesson,
    recipe: PretrainRecipe,
    path: Path,
    *,
    resume: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[BehaviourNetwork, dict[str, Any]]:
    """The network with the best watched loss, and the curve of that loss.

    Args:
        lesson: What to learn from.
        recipe: How.
        path: Keeps the run.
        resume: Go on from ``path``.
        advance: Told finished steps.

    Raises:
        TrainerError: If there is nothing to go on from.
    """
    network = new_network(lesson, recipe)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    checkpoint = Checkpoint(path, asdict(recipe))
    progress = checkpoint.begin(
        network, optimizer, {"step": 0, "curve": [], "best": {}}, advance, resume=resume
    )
    watched = _watched(lesson.sequences.households, recipe.seed)
    learnt = np.flatnonzero(~watched)
    test = lesson.sequences.of(watched)
    while progress["step"] < recipe.steps and not _is_over(progress["curve"], recipe.patience):
        step = progress["step"]
        draw = step_draw(recipe.seed, step)
        network.train()
        batch = lesson.sequences.of(draw.choice(learnt, recipe.batch))
        _learn(network, optimizer, guess_loss(network, batch, lesson.interests, recipe, draw))
        progress["step"] = step + 1
        advance(1)
        if (step + 1) % recipe.look_every == 0 or step + 1 == recipe.steps:
            _look(network, test, lesson.interests, recipe, progress)
            checkpoint.save(network, optimizer, progress)
    network.load_state_dict(progress["best"])
    network.eval()
    return network, {"recipe": asdict(recipe), "steps": progress["step"], "curve": progress["curve"]}


def guess_loss(
    network: BehaviourNetwork,
    batch: Sequences,
    interests: Tensor,
    recipe: PretrainRecipe,
    draw: np.random.Generator,
) -> Tensor:
    """Cross-entropy of the interests that are guessed."""
    there = batch.texts >= 0
    targets = torch.where(there, interests[batch.texts.clamp(min=0)], _NO_INTEREST)  # [B, T]
    if recipe.objective == "next":
        logits = network.logits(network(batch))[:, :-1]
        targets = targets[:, 1:]
    else:
        hidden = there & torch.from_numpy(draw.random(tuple(there.shape)) < recipe.hidden_ratio)
        logits = network.logits(network(batch, hidden))
        targets = torch.where(hidden, targets, _NO_INTEREST)
    asked = targets >= 0
    if not asked.any():
        return logits.sum() * 0.0
    return nn.functional.cross_entropy(logits[asked], targets[asked])


def _learn(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def _look(
    network: BehaviourNetwork,
    watched: Sequences,
    interests: Tensor,
    recipe: PretrainRecipe,
    progress: dict[str, Any],
) -> None:
    network.eval()
    with torch.no_grad():
        loss = float(guess_loss(network, watched, interests, recipe, np.random.default_rng(recipe.seed)))
    if loss < min((loss for _, loss in progress["curve"]), default=np.inf):
        progress["best"] = {name: weights.clone() for name, weights in network.state_dict().items()}
    progress["curve"].append([progress["step"], loss])


def _is_over(curve: list[list[float]], patience: int) -> bool:
    losses = [loss for _, loss in curve]
    return len(losses) - 1 - int(np.argmin(losses)) >= patience if losses else False


def _watched(households: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Sequences of a tenth of the households, of two at least one."""
    everyone = np.unique(households)
    count = max(1, round(len(everyone) * _WATCHED_RATIO))
    chosen = np.random.default_rng(seed).permutation(everyone)[:count]
    return np.isin(households, chosen)
