"""Training of the interest head: shared networks on derived features, intent, user vector.

Shapes as in ``trainer.head``; R rows = household and cutoff.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from trainer.head import HeadShape, InterestHead

#: Weights of the losses: the probability of each interest, the same among those not bought lately, and the order.
_BCE: Final = 2.0
_NOVEL_BCE: Final = 2.0
_RANK: Final = 0.1
_NOVEL_RANK: Final = 0.1
_NEVER_RANK: Final = 0.05
_ACTS: Final = 0.5
#: A stronger act raises the logit by no less than this.
_ACT_MARGIN: Final = 0.1
_ACTS_BATCH: Final = 128
_INTENT_STEPS: Final = 600
_INTENT_BATCH: Final = 512
_INTENT_DECAY: Final = 0.3
_MIX_STEPS: Final = 60
_LEAST_DEVIATION: Final = 0.01


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """How long and how fast."""

    epochs: int = 4
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    #: Behind the hidden layer of the network that scores the interests.
    dropout: float = 0.1
    seed: int = 0
    shape: HeadShape = field(default_factory=HeadShape)


class TrainingRows(NamedTuple):
    """Everything that is fitted on, over R rows."""

    derived: Tensor  # [R, L, F] half
    bought: Tensor  # [R, L] bool
    novel: Tensor  # [R, L] bool
    never: Tensor  # [R, L] bool
    #: Of the S rows with nothing hidden.
    level: Tensor  # [S, USER_LEVEL]
    intent: Tensor  # [S, 3] bool
    acts: Tensor  # [A, acts, F] of A pairs of a household and an interest, from no act to the strongest


def fit_scaling(head: InterestHead, rows: TrainingRows) -> None:
    """Freeze mean and scale of the features, from every eighth row."""
    sample = rows.derived[::8].float().flatten(0, 1)
    head.mean.copy_(sample.mean(dim=0))
    head.scale.copy_(_scale(sample))
    head.user_mean.copy_(rows.level.mean(dim=0))
    head.user_scale.copy_(_scale(rows.level))


def _scale(sample: Tensor) -> Tensor:
    """The standard deviation of each column, but not so little that it would make rounding loud."""
    return sample.std(dim=0).clamp(min=_LEAST_DEVIATION) + 1e-3


def steps(rows: int, recipe: HeadRecipe) -> int:
    """How many steps the network is trained."""
    return recipe.epochs * (rows // recipe.batch)


def fit_network(
    head: InterestHead,
    rows: TrainingRows,
    recipe: HeadRecipe,
    advance: Callable[[int], None] = lambda _: None,
    tell_loss: Callable[[float], None] = lambda _: None,
) -> None:
    """Train the network that scores the interests; ``advance`` is told finished steps."""
    network = head.network
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = recipe.dropout
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    total = steps(len(rows.derived), recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=total + 1, pct_start=0.1
    )
    network.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(rows.derived))
        for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
            chosen = order[start : start + recipe.batch]
            logits = network(head.standardise(rows.derived[chosen].float()))
            loss = _loss(logits, rows.bought[chosen], rows.novel[chosen], rows.never[chosen])
            some = torch.randint(len(rows.acts), (_ACTS_BATCH,))
            loss = loss + _ACTS * _acts_loss(network(head.standardise(rows.acts[some])))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            tell_loss(float(loss.detach()))
            advance(1)
    network.eval()


def _loss(logits: Tensor, bought: Tensor, novel: Tensor, never: Tensor) -> Tensor:
    each = nn.functional.binary_cross_entropy_with_logits(logits, bought.float(), reduction="none")
    return (
        _BCE * each.mean()
        + _NOVEL_BCE * each[novel].mean()
        + _RANK * _order_loss(logits, bought, torch.ones_like(bought))
        + _NOVEL_RANK * _order_loss(logits, bought, novel)
        + _NEVER_RANK * _order_loss(logits, bought, never)
    )


def _acts_loss(logits: Tensor) -> Tensor:
    """How far a stronger act [A, acts] falls short of the margin above the one before it."""
    return torch.relu(_ACT_MARGIN - torch.diff(logits, dim=1)).mean()


def _order_loss(logits: Tensor, bought: Tensor, candidates: Tensor) -> Tensor:
    """Cross-entropy of the softmax over the candidates to the bought ones, over rows with any."""
    wanted = (bought & candidates).float()
    some = wanted.sum(dim=1) > 0
    if not bool(some.any()):
        return logits.sum() * 0.0
    log_share = torch.log_softmax(logits.masked_fill(~candidates, -1e4), dim=1)
    return -((log_share * wanted).sum(dim=1) / wanted.sum(dim=1).clamp(min=1.0))[some].mean()


def fit_intent(head: InterestHead, rows: TrainingRows, recipe: HeadRecipe) -> None:
    """Train the intent part; seconds."""
    torch.manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(head.intent.parameters(), lr=5e-3, weight_decay=_INTENT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=_INTENT_STEPS + 1)
    standard, happened = head.standardise_level(rows.level), rows.intent.float()
    head.intent.train()
    for _ in range(_INTENT_STEPS):
        chosen = torch.randint(len(standard), (_INTENT_BATCH,))
        opinions = head.intent.opinions(standard[chosen])
        target = happened[chosen].unsqueeze(1).expand_as(opinions)
        loss = nn.functional.binary_cross_entropy_with_logits(opinions, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    head.intent.eval()


def fit_user_vector(head: InterestHead, history: Tensor, window: Tensor, wanted: Tensor) -> None:
    """Fit the mix so that the user vector points at what is bought next.

    Args:
        head: Its ``mix`` is changed.
        history: [n, L, H].
        window: [n, K, D].
        wanted: [n, L] bool, bought within the horizon and not lately.
    """
    sharpness = torch.tensor(10.0, requires_grad=True)
    optimizer = torch.optim.Adam([head.mix, sharpness], lr=0.05)
    some = wanted.any(dim=1)
    history, window, target = history[some], window[some], wanted[some].float()
    for _ in range(_MIX_STEPS):
        similar = head.user_vector(history, window) @ head.derived.centred_names.T
        log_share = torch.log_softmax(similar * sharpness, dim=1)
        loss = -((log_share * target).sum(dim=1) / target.sum(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        head.mix.copy_(head.mix.abs() / head.mix.abs().sum())


def predict(head: InterestHead, derived: Tensor, batch: int = 128) -> Tensor:
    """Uncalibrated logits [n, L] of derived features."""
    with torch.no_grad():
        pieces = [
            head.logits(head.standardise(derived[start : start + batch].float()))
            for start in range(0, len(derived), batch)
        ]
    return torch.cat(pieces)
