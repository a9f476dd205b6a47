"""Calibration: a rising curve on logits, fitted on the validation month, frozen into the graph.

Rising keeps the order, so ranking is the same with and without it.
"""

from typing import Final

import torch
from torch import Tensor, nn

from trainer.head import MonotoneCurve

_STEPS: Final = 60
#: A flat piece would tie interests that the network told apart.
_MIN_SLOPE: Final = 0.05


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
