import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from torch import Tensor  # noqa: E402

from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES  # noqa: E402
from trainer.own_history import (  # noqa: E402
    OWN_FEATURES,
    own_history,
)

pytestmark = pytest.mark.trainer
ROW = {name: row for row, name in enumerate(HISTORY_FEATURES)}


def shopper() -> tuple[Tensor, Tensor]:
    """Bought the first interest twice, ten days apart and two days ago; the second once, 30 days ago; the third never."""
    history = torch.zeros((1, 3, len(HISTORY_FEATURES)))
    history[0, :, ROW["purchases"]] = torch.tensor([2.0, 1.0, 0.0])
    history[0, :, ROW["days_since_purchase"]] = torch.tensor([2.5, 30.5, NEVER_DAYS])
    history[0, :, ROW["mean_gap_days"]] = torch.tensor([10.0, NEVER_DAYS, NEVER_DAYS])
    history[0, :, ROW["since_to_gap_ratio"]] = torch.tensor([0.25, 50.0, 50.0])
    history[0, :, ROW["decayed_weight_28d"]] = torch.tensor([1.5, 0.5, 0.0])
    user = torch.zeros((1, len(USER_FEATURES)))
    user[0, USER_FEATURES.index("days_since_order")] = 2.5
    user[0, USER_FEATURES.index("decayed_orders_28d")] = 2.0
    return history, user


def own(name: str) -> list[float]:
    found: list[float] = own_history(*shopper())[0, :, OWN_FEATURES.index(name)].tolist()
    return found


def test_the_share_of_orders_is_of_one_order_more() -> None:
    assert own("order_share_28d") == pytest.approx(np.sqrt([0.5, 0.5 / 3, 0.0]).tolist())


def test_what_was_bought_once_has_no_due_day() -> None:
    assert own("due_in_days") == pytest.approx([7.5 / 60, 0.0, 0.0])
    assert own("bought_repeatedly") == [1.0, 0.0, 0.0]


def test_nobody_has_finite_features() -> None:
    history, user = (torch.zeros_like(tensor) for tensor in shopper())

    assert torch.isfinite(own_history(history, user)).all()
