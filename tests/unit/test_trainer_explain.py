"""Explanations: what leaving a behaviour out does to a state, and attributions of a made head."""

from typing import Any

import numpy as np
import orjson
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.features import HISTORY_FEATURES
from stream.render import category_hash, text_hash
from tests.shop_files import DAY_MS, FIRST_MS, purchase
from trainer.events.reading import StoredRecord
from trainer.explain.attribution import Asking, attributions, raw_inputs
from trainer.explain.check import Explained, explain_user, summary
from trainer.explain.refold import Refolder, Step, steps_of, without

pytestmark = pytest.mark.trainer
NAMES = ("cheese", "milk", "tea")
NOW_MS = FIRST_MS + 40 * DAY_MS
PURCHASES = HISTORY_FEATURES.index("purchases")
SINCE = HISTORY_FEATURES.index("days_since_purchase")


class MadeHead:
    """A score that rises with the 28-day weight and with the likeness of the short window."""

    def run(self, inputs: Any) -> dict[str, Any]:
        logits = inputs["HISTORY"][..., 2] + inputs["WINDOW"][:, 0, :3] - 1.0
        return {"SCORES": 1.0 / (1.0 + np.exp(-logits))}


def records(*bought: tuple[float, tuple[str, ...]]) -> list[StoredRecord]:
    """One order per day with these categories."""
    found = []
    for number, (day, categories) in enumerate(bought):
        body = purchase("u", day, categories[0], event_id=f"e{number}")
        first = body["items"][0]
        body["items"] = [
            {**first, "item_id": name, "item_name": name, "item_category": "food", "item_category2": name}
            for name in categories
        ]
        stamp = FIRST_MS + round(day * DAY_MS)
        found.append(StoredRecord("behaviour.purchase", 0, number, stamp, orjson.dumps(body), b"u"))
    return found


def asking() -> Asking:
    made: Any = MadeHead()
    vectors = {text_hash(f"{name}, food"): np.eye(4, dtype=np.float32)[row] for row, name in enumerate(NAMES)}
    rows = {category_hash(name): row for row, name in enumerate(NAMES)}
    return Asking(made, rows, len(NAMES), NOW_MS, vectors, 4)


def steps() -> list[Step]:
    return steps_of(
        records(
            (12, ("cheese",)), (20, ("cheese", "milk")), (25, ("milk",)), (30, ("tea",)), (38, ("cheese",))
        )
    )


def test_leaving_out_takes_one_item_out_of_its_event() -> None:
    refolder = Refolder(2)
    window = refolder.fold(steps()).window

    state = refolder.fold(without(steps(), window.behaviour(1)))  # the cheese of the second order

    assert len(state.window) == len(window) - 1
    features = raw_inputs(state, asking()).history[0]
    assert features[:, PURCHASES].tolist() == [2.0, 2.0, 1.0]


def test_an_event_of_one_item_goes_as_a_whole() -> None:
    refolder = Refolder(2)

    state = refolder.fold(without(steps(), refolder.fold(steps()).window.behaviour(5)))

    assert state.orders.count == 4
    assert raw_inputs(state, asking()).history[0, 0, SINCE] == pytest.approx(20.0)


def test_what_bought_a_category_last_adds_most_to_its_score() -> None:
    added = attributions(Refolder(2).fold(steps()), asking())

    assert added.shape == (6, 3)
    assert added[:, 0].argmax() == 5
    assert added[4, 2] > 0.5  # the tea to tea
    assert added[4, 0] < 0.0  # and against cheese, which has a smaller share of the window then


def test_two_items_of_a_category_in_one_event_count_once() -> None:
    refolder = Refolder(2)
    twice = steps_of(records((20, ("cheese", "cheese", "milk")), (30, ("tea",))))
    body = orjson.loads(twice[0].record.value or b"")
    assert len(body["items"]) == 3

    added = attributions(refolder.fold(twice), asking())

    assert abs(added[0, 0]) < 0.1


def test_a_small_step_gives_the_gradient() -> None:
    state = Refolder(2).fold(steps())

    small = attributions(state, asking(), 0.01)
    smaller = attributions(state, asking(), 0.005)

    np.testing.assert_allclose(small, smaller, rtol=0.05, atol=2e-3)


def test_every_score_is_explained_by_every_method() -> None:
    names = np.eye(4, dtype=np.float32)[:3]

    found = explain_user(0, steps(), Refolder(2), asking(), names, interests=2)

    assert len(found) == 2
    assert set(found[0].by_method) == {"occlusion", "gradient", "update"}
    told = summary(found)
    assert told["occlusion"]["spearman"] > 0.8
    assert told["occlusion"]["behaviours"] == 12
    assert told["occlusion"]["scores"] == 2


def test_a_user_with_too_few_behaviours_is_not_explained() -> None:
    few = steps_of(records((20, ("cheese",))))

    assert explain_user(0, few, Refolder(2), asking(), np.eye(4, dtype=np.float32)[:3], 1) == []


def test_rank_correlation_is_one_for_the_same_order_and_minus_one_for_the_opposite() -> None:
    left_out = np.arange(6.0)
    explained = [
        Explained(user, 0, left_out, {"same": left_out**2, "opposite": -left_out}) for user in range(3)
    ]

    told = summary(explained)

    assert told["same"]["spearman"] == pytest.approx(1.0)
    assert told["same"]["same_top"] == 1.0
    assert told["opposite"]["spearman_ci"] == pytest.approx([-1.0, -1.0])
    assert told["opposite"]["users"] == 3


def test_methods_that_say_nothing_are_counted_as_such() -> None:
    flat = [Explained(0, 0, np.arange(6.0), {"flat": np.zeros(6)})]

    assert summary(flat) == {"flat": {"scores": 0, "users": 0, "behaviours": 0}}
