import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from tests.made_shopper import shopper  # noqa: E402
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
