"""Acts that the data does not have: what a click, a cart or a purchase now would change of a user's raw inputs.

The data has purchases only, so that a network has never seen a weight without one. It is taught that a stronger act never
says less, and the check measures by how much each act moves a score.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS
from stream.profile import ACTION_WEIGHTS, HALF_LIVES_DAYS
from trainer.contract import HEAD_INPUTS
from trainer.head_inputs import Inputs
from trainer.parity import OnnxModel

_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
_SINCE: Final = HISTORY_FEATURES.index("days_since_purchase")
_SINCE_ORDER: Final = USER_FEATURES.index("days_since_order")
_CATEGORIES: Final = USER_FEATURES.index("purchased_categories")
_TOTAL: Final = USER_FEATURES.index("decayed_weight_total_56d")
_BEHAVIOURS: Final = USER_FEATURES.index("window_behaviours")
_TOTAL_DAYS: Final = 56.0
_CHECKED: Final = 200


@dataclass(frozen=True, slots=True)
class Act:
    """One act, or several that weigh as much together."""

    name: str
    weight: float
    is_purchase: bool = False


#: Each says no less than the one before it; the fourth is several clicks and carts that weigh as much as a purchase.
ACTS: Final = (
    Act("nothing", 0.0),
    Act("click", ACTION_WEIGHTS["click"]),
    Act("add_to_cart", ACTION_WEIGHTS["add_to_cart"]),
    Act("acts_of_weight_1", 1.0),
    Act("purchase", ACTION_WEIGHTS["purchase"], is_purchase=True),
)


class RawInputs(NamedTuple):
    """What the head is asked with, for n households."""

    history: Tensor  # [n, L, H]
    user: Tensor  # [n, U]
    window: Tensor  # [n, K, D]


def acted(inputs: RawInputs, interest: Tensor, act: Act, age_days: Tensor, names: Tensor) -> RawInputs:
    """The inputs after one more act on an interest that was never bought.

    Args:
        inputs: Of n households.
        interest: The interest's row of each household, [n].
        act: Of ``ACTS``.
        age_days: How long ago it was, [n].
        names: The interests' unit vectors, [L, D]; the act's text is taken to be the name.
    """
    history, user = inputs.history.clone(), inputs.user.clone()
    rows, width = torch.arange(len(interest)), len(HALF_LIVES_DAYS)
    faded = torch.exp2(-age_days.unsqueeze(1) / torch.tensor(HALF_LIVES_DAYS))  # [n, 6]
    history[rows, interest, :width] += act.weight * faded
    user[:, _TOTAL] += act.weight * torch.exp2(-age_days / _TOTAL_DAYS)
    user[:, _BEHAVIOURS] += float(act.weight > 0.0)
    if act.is_purchase:
        history[rows, interest, _PURCHASES] = 1.0
        history[rows, interest, _SINCE] = age_days
        user[:, :width] += faded
        user[:, _SINCE_ORDER] = torch.minimum(user[:, _SINCE_ORDER], age_days)
        user[:, _CATEGORIES] += 1.0
    window = torch.stack(
        [
            _moved(inputs.window[:, place], names[interest], act.weight, age_days / days, mass)
            for place, (days, mass) in enumerate(
                zip(WINDOW_HALF_LIVES_DAYS, _masses(inputs.history), strict=True)
            )
        ],
        dim=1,
    )
    return RawInputs(history, user, window)


def _masses(history: Tensor) -> list[Tensor]:
    """About how much weight each window vector holds already, [n] each: that of the nearest half-life."""
    nearest = [
        min(range(len(HALF_LIVES_DAYS)), key=lambda row: abs(HALF_LIVES_DAYS[row] - days))
        for days in WINDOW_HALF_LIVES_DAYS
    ]
    return [history[..., row].sum(dim=1) for row in nearest]


def _moved(window: Tensor, name: Tensor, weight: float, half_lives: Tensor, mass: Tensor) -> Tensor:
    new = weight * torch.exp2(-half_lives)
    share = (new / (new + mass.clamp(min=0.0) + 1e-6)).unsqueeze(1)
    return nn.functional.normalize((1.0 - share) * window + share * name, dim=-1)


def draw_acts(
    inputs: Inputs, count: int, most_days: float, draw: np.random.Generator
) -> tuple[RawInputs, Tensor, Tensor]:
    """Some households, for each an interest that it never bought [count], and how long ago the act was [count]."""
    rows = draw.choice(len(inputs.households), min(count, len(inputs.households)), replace=False)
    never: NDArray[np.bool_] = (inputs.history[rows][..., _PURCHASES] == 0).numpy()
    interest = (draw.random(never.shape) * never).argmax(axis=1)
    age = draw.random(len(rows)).astype(np.float32) * np.float32(most_days)
    raw = RawInputs(inputs.history[rows], inputs.user[rows], inputs.window[rows])
    return raw, torch.from_numpy(interest), torch.from_numpy(age)


def acts_report(head: OnnxModel, inputs: Inputs, names: NDArray[np.float32]) -> dict[str, float]:
    """How far each act moves the logit of an interest that was never bought, on average over some households.

    Args:
        head: The exported head.
        inputs: Of the households.
        names: [L, D].

    Returns:
        The mean move by name of act; ``least_step``, the smallest mean difference between an act and the one before it; and
        ``out_of_order``, the share of such pairs where the stronger act says less.
    """
    raw, interest, _ = draw_acts(inputs, _CHECKED, 0.0, np.random.default_rng(0))
    now, rows = torch.zeros(len(interest)), np.arange(len(interest))
    logits = []
    for act in ACTS:
        after = acted(raw, interest, act, now, torch.from_numpy(names))
        given = dict(zip(HEAD_INPUTS, (tensor.numpy() for tensor in after), strict=True))
        scores = head.run(given)["SCORES"][rows, interest.numpy()].astype(np.float64)
        logits.append(np.log(scores / (1.0 - scores)))
    by_act = np.stack(logits)  # [acts, n]
    steps = np.diff(by_act, axis=0)
    moved = {act.name: float((by_act[row] - by_act[0]).mean()) for row, act in enumerate(ACTS) if act.weight}
    return {**moved, "least_step": float(steps.mean(axis=1).min()), "out_of_order": float((steps < 0).mean())}
