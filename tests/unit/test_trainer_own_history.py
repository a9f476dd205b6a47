import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from tests.made_shopper import shopper  # noqa: E402
from trainer.own_history import (  # noqa: E402
    OWN_FEATURES,
    own_history,
)

pytestmark = pytest.mark.trainer


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
