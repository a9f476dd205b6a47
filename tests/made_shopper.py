"""One user's features of history, as a worker sends them, for tests of what is derived from them."""

import torch
from torch import Tensor

from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES

_ROW = {name: row for row, name in enumerate(HISTORY_FEATURES)}


def shopper() -> tuple[Tensor, Tensor]:
    """Bought the first interest twice, ten days apart and two days ago; the second once, 30 days ago; the third never."""
    history = torch.zeros((1, 3, len(HISTORY_FEATURES)))
    history[0, :, _ROW["purchases"]] = torch.tensor([2.0, 1.0, 0.0])
    history[0, :, _ROW["days_since_purchase"]] = torch.tensor([2.5, 30.5, NEVER_DAYS])
    history[0, :, _ROW["mean_gap_days"]] = torch.tensor([10.0, NEVER_DAYS, NEVER_DAYS])
    history[0, :, _ROW["since_to_gap_ratio"]] = torch.tensor([0.25, 50.0, 50.0])
    history[0, :, _ROW["decayed_weight_28d"]] = torch.tensor([1.5, 0.5, 0.0])
    user = torch.zeros((1, len(USER_FEATURES)))
    user[0, USER_FEATURES.index("days_since_order")] = 2.5
    user[0, USER_FEATURES.index("decayed_orders_28d")] = 2.0
    return history, user
