"""Calibration: a rising curve on logits and a small step per interest, fitted on the validation month, frozen into the graph.

The curve keeps the order; a step moves an interest past others that are about as likely, for every user alike.
"""

from typing import Final

import torch
from torch import Tensor, nn

from trainer.head import MonotoneCurve

_STEPS: Final = 60
#: A flat piece would tie interests that the network told apart.
_MIN_SLOPE: Final = 0.05
#: How far interests may stray from the curve: the variance that a step of theirs is believed to have, in squared logits.
_STEP_VARIANCE: Final = 0.003
_NEWTON_STEPS: Final = 20


def fit_curve(curve: MonotoneCurve, logits: Tensor, outcomes: Tensor) -> None:
    """Set the curve so that its sigmoid says how often ``outcomes`` are true.

    Args:
        curve: Changed in place.
        logits: Uncalibrated, any shape.
        outcomes: Bool, of the same shape.
    """
    flat, target = logits.reshape(-1), outcomes.reshape(-1).float()
    count = len(curve.knots)
    # Equal counts of outcomes, not of rows, between the knots: most rows are near probability zero.
    shares = torch.linspace(0, 1, count + 2)[1:-1]
    knots = torch.quantile(_thinned(flat[target > 0]), shares)
    raw = torch.zeros(count + 1, requires_grad=True)
    offset = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([raw, offset], max_iter=_STEPS, line_search_fn="strong_wolfe")
    above = torch.relu(flat.unsqueeze(-1) - knots)

    def closure() -> Tensor:
        optimizer.zero_grad()
        slopes = _slopes(raw)
        bent = flat * slopes[0] + above @ torch.diff(slopes) + offset
        loss = nn.functional.binary_cross_entropy_with_logits(bent, target)
        loss.backward()
        return loss

    optimizer.step(closure)
    slopes = _slopes(raw.detach())
    curve.knots.copy_(knots)
    curve.slopes.copy_(torch.cat([slopes[:1], torch.diff(slopes)]))
    curve.offset.copy_(offset.detach())


def fit_steps(curved: Tensor, outcomes: Tensor) -> Tensor:
    """The step of each interest that makes its outcomes most likely, drawn to zero where there are few, [L].

    Args:
        curved: Logits after the curve, [n, L].
        outcomes: Bool, of the same shape.
    """
    steps, target = torch.zeros(curved.shape[1]), outcomes.float()
    for _ in range(_NEWTON_STEPS):
        said = torch.sigmoid(curved + steps)
        slope = (target - said).sum(dim=0) - steps / _STEP_VARIANCE
        bend = (said * (1.0 - said)).sum(dim=0) + 1.0 / _STEP_VARIANCE
        steps = steps + slope / bend
    return steps


def fit_line(curve: MonotoneCurve, logits: Tensor, outcomes: Tensor) -> None:
    """Platt's two numbers, shared by all columns: for outcomes too few to bend a curve."""
    raw = torch.zeros(1, requires_grad=True)
    offset = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([raw, offset], max_iter=_STEPS, line_search_fn="strong_wolfe")
    flat, target = logits.reshape(-1), outcomes.reshape(-1).float()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(flat * _slopes(raw)[0] + offset, target)
        loss.backward()
        return loss

    optimizer.step(closure)
    curve.knots.zero_()
    curve.slopes.zero_()
    curve.slopes[0] = float(_slopes(raw.detach())[0])
    curve.offset.copy_(offset.detach())


def _slopes(raw: Tensor) -> Tensor:
    """Positive, 1 where ``raw`` is 0."""
    return _MIN_SLOPE + (1.0 - _MIN_SLOPE) * torch.exp(raw)


def _thinned(values: Tensor, most: int = 100_000) -> Tensor:
    """At most so many values, evenly spaced: torch's quantile takes no more than 16 million."""
    return values[:: max(1, len(values) // most)]
