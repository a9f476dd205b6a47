import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from torch import Tensor  # noqa: E402

from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES  # noqa: E402
from trainer.user_level import (  # noqa: E402
    BREADTH_FEATURES,
    ORDER_DAYS,
    USER_LEVEL,
    breadth,
    order_days,
    order_rhythm,
    user_level,
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


def test_breadth_counts_interests_by_how_long_ago_they_were_bought() -> None:
    counts = torch.expm1(breadth(shopper()[0]))[0].tolist()

    assert dict(zip(BREADTH_FEATURES, counts, strict=True)) == pytest.approx(
        {"bought_7d": 1, "bought_28d": 1, "bought_84d": 2, "tried_28d": 0, "due_interests": 0}
    )


def test_the_days_of_orders_are_those_of_last_purchases() -> None:
    found = torch.expm1(order_days(shopper()[0]))[0]

    assert found.shape == (ORDER_DAYS,)
    assert torch.nonzero(found > 0.5).flatten().tolist() == [2, 30]


def test_nobody_has_finite_features() -> None:
    history, user = (torch.zeros_like(tensor) for tensor in shopper())

    assert torch.isfinite(order_rhythm(user)).all()
    assert user_level(history, user).shape == (1, USER_LEVEL)
