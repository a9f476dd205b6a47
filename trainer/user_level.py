"""What purchase intent is told of a user: on which days orders fell, their rhythm, how broad the shopping is.

All of it follows from the raw inputs that the worker sends, so that the exported graph derives it and the stream keeps no
more state. Shapes: B users, L interests, H history and U user features.
"""

from typing import Final

import torch
from torch import Tensor

from stream.features import HISTORY_FEATURES, USER_FEATURES

_ROW: Final = {name: row for row, name in enumerate(HISTORY_FEATURES)}
_USER: Final = {name: row for row, name in enumerate(USER_FEATURES)}
#: Of the user: how many interests were bought within days, tried lately for the first time, and are due.
BREADTH_FEATURES: Final = ("bought_7d", "bought_28d", "bought_84d", "tried_28d", "due_interests")
#: So many days back is it told whether an order fell on a day, as far as its interests were not bought again later.
ORDER_DAYS: Final = 42
#: Half-lives that the mean gap between orders is estimated by.
_RHYTHM_DAYS: Final = (28, 56, 112)
#: How many features purchase intent has.
USER_LEVEL: Final = len(USER_FEATURES) + ORDER_DAYS + len(_RHYTHM_DAYS) + len(BREADTH_FEATURES)
_HORIZON_DAYS: Final = 28.0
#: A weight of half-life h is the rate a day times h / ln 2.
_LN2: Final = 0.6931


def breadth(history: Tensor) -> Tensor:
    """[B, 5] in the order of ``BREADTH_FEATURES``, logs of counts."""
    since, bought = history[..., _ROW["days_since_purchase"]], _bought(history)
    ratio = history[..., _ROW["since_to_gap_ratio"]]
    once = history[..., _ROW["purchases"]] == 1
    flags = [
        *(bought & (since < days) for days in (7, 28, 84)),
        once & (since < _HORIZON_DAYS),
        (history[..., _ROW["purchases"]] > 1) & (ratio > 0.8) & (ratio < 2.0),
    ]
    counts = torch.stack([flag.to(history.dtype).sum(dim=1) for flag in flags], dim=-1)
    return torch.log1p(counts)


def order_days(history: Tensor) -> Tensor:
    """Log of how many interests were bought last on each of the last days, newest first, [B, ``ORDER_DAYS``]."""
    since = torch.where(
        _bought(history),
        history[..., _ROW["days_since_purchase"]],
        torch.full_like(history[..., 0], float(ORDER_DAYS)),
    )
    days = torch.arange(ORDER_DAYS, device=history.device, dtype=history.dtype)
    same = torch.floor(since).unsqueeze(-1) == days  # [B, L, days]
    return torch.log1p(same.to(history.dtype).sum(dim=1))


def order_rhythm(user: Tensor) -> Tensor:
    """Days since the last order in mean gaps between orders, by three half-lives, [B, 3]; logs."""
    since = user[:, _USER["days_since_order"]]
    gaps = [since * user[:, _USER[f"decayed_orders_{days}d"]] * (_LN2 / days) for days in _RHYTHM_DAYS]
    return torch.log1p(torch.stack(gaps, dim=-1))


def user_level(history: Tensor, user: Tensor) -> Tensor:
    """What purchase intent is told: the user as a whole, days of orders, rhythm and breadth, [B, ``USER_LEVEL``]."""
    return torch.cat([torch.log1p(user), order_days(history), order_rhythm(user), breadth(history)], dim=-1)


def _bought(history: Tensor) -> Tensor:
    return history[..., _ROW["purchases"]] > 0
