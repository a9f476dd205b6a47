"""What one user's own counts say of an interest beyond themselves: share of the orders, rhythm, what is due.

All of it follows from the raw inputs that the worker sends, so that the exported graph derives it and the stream keeps no
more state. Shapes: B users, L interests, H history and U user features.
"""

from typing import Final

import torch
from torch import Tensor

from stream.features import HISTORY_FEATURES, USER_FEATURES

_ROW: Final = {name: row for row, name in enumerate(HISTORY_FEATURES)}
_USER: Final = {name: row for row, name in enumerate(USER_FEATURES)}
#: Of the interest; nothing in it grows without bound with acts that are no purchases.
OWN_FEATURES: Final = (
    "order_share_28d",
    "order_share_112d",
    "order_share_224d",
    "expected_in_28d",
    "orders_since_purchase",
    "due_in_days",
    "bought_repeatedly",
    "weight_trend",
    "purchases_per_month",
    "share_of_weight",
)
_HORIZON_DAYS: Final = 28.0
_MOST_DUE_DAYS: Final = 60.0
_MOST_SHARE: Final = 1.5
#: A weight of half-life h is the rate a day times h / ln 2.
_LN2: Final = 0.6931


def own_history(history: Tensor, user: Tensor) -> Tensor:
    """[B, L, 10] in the order of ``OWN_FEATURES``.

    Args:
        history: [B, L, H], raw.
        user: [B, U], raw.
    """
    weight_28, weight_56, weight_224 = (_weight(history, days) for days in (28, 56, 224))
    shares = torch.stack([_order_share(history, user, days) for days in (28, 112, 224)], dim=-1)
    orders_ahead = _orders(user, 56) * (_LN2 * _HORIZON_DAYS / 56.0)
    expected = -torch.expm1(-shares[..., 1] * orders_ahead)
    bought, repeated = _bought(history), history[..., _ROW["purchases"]] > 1
    since, gap = (history[..., _ROW["days_since_purchase"]], history[..., _ROW["mean_gap_days"]])
    since_order = user[:, _USER["days_since_order"]].unsqueeze(1)
    skipped = torch.log1p((since - since_order).clamp(min=0.0) * _orders(user, 112) * (_LN2 / 112.0))
    due = (gap - since).clamp(-_MOST_DUE_DAYS, _MOST_DUE_DAYS) / _MOST_DUE_DAYS
    seen = user[:, _USER["days_since_first_seen"]].unsqueeze(1)
    monthly = history[..., _ROW["purchases"]] / (seen / _HORIZON_DAYS + 1.0)
    total = user[:, _USER["decayed_weight_total_56d"]].unsqueeze(1)
    rest = [
        expected,
        torch.where(bought, skipped, torch.zeros_like(skipped)),
        torch.where(repeated, due, torch.zeros_like(due)),
        repeated.to(history.dtype),
        torch.log((weight_28 + 0.1) / (weight_224 + 0.1)),
        torch.log1p(monthly),
        torch.sqrt(weight_56.clamp(min=0.0) / (total.clamp(min=0.0) + 5.0)),
    ]
    return torch.cat([torch.sqrt(shares), torch.stack(rest, dim=-1)], dim=-1)


def _weight(history: Tensor, days: int) -> Tensor:
    return history[..., _ROW[f"decayed_weight_{days}d"]]


def _orders(user: Tensor, days: int) -> Tensor:
    return user[:, _USER[f"decayed_orders_{days}d"]].unsqueeze(1)


def _order_share(history: Tensor, user: Tensor, days: int) -> Tensor:
    """Which share of the orders had the interest; one order more, so that a single act says little."""
    return (_weight(history, days).clamp(min=0.0) / (_orders(user, days) + 1.0)).clamp(max=_MOST_SHARE)


def _bought(history: Tensor) -> Tensor:
    return history[..., _ROW["purchases"]] > 0
