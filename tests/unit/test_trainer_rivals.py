import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from trainer.baselines import FEATURES_17, FEATURES_31, FEATURES_ALL  # noqa: E402
from trainer.dates import seconds  # noqa: E402
from trainer.derived import TEXT_FEATURES  # noqa: E402
from trainer.looks import count_look  # noqa: E402
from trainer.samples import Purchases  # noqa: E402
from trainer.sequence_models import (  # noqa: E402
    Gru4Rec,
    Histories,
    History,
    SasRec,
    SequenceRecipe,
    fit_sequence_model,
    predict_next,
)

pytestmark = pytest.mark.trainer
NOON = seconds(date(2017, 3, 1))
DAY = 86_400


def histories(rows: list[tuple[int, int, int, int]], labels: int = 3) -> Histories:
    """Of rows (household, basket, interest, day)."""
    household, basket, interest, day = (
        np.array(column, dtype=np.int32) for column in zip(*rows, strict=True)
    )
    at = NOON + day.astype(np.int64) * DAY
    return Histories(Purchases(household, basket, interest, np.zeros_like(interest), at), labels)


def test_the_sets_have_their_features_once_and_no_text() -> None:
    assert (len(FEATURES_17), len(FEATURES_31), len(FEATURES_ALL)) == (17, 31, 35)
    assert set(FEATURES_17) < set(FEATURES_31) < set(FEATURES_ALL)
    assert not set(FEATURES_ALL) & set(TEXT_FEATURES)


def test_a_history_is_in_time_order_once_per_basket_without_what_is_no_interest() -> None:
    found = histories([(0, 8, 2, 5), (0, 7, 1, 1), (0, 7, 1, 1), (1, 9, 0, 2), (0, 6, -1, 0)])

    assert found.of(0, date(2017, 4, 1)).interest.tolist() == [1, 2]


def test_a_history_ends_before_its_day() -> None:
    found = histories([(0, 7, 1, 1), (0, 8, 2, 5)])

    # The second basket is of that very midnight.
    assert found.of(0, date(2017, 3, 6)).interest.tolist() == [1]


def test_a_household_without_purchases_has_an_empty_history() -> None:
    assert histories([(1, 7, 1, 1)]).of(0, date(2017, 4, 1)).interest.tolist() == []


def test_a_basket_has_no_order() -> None:
    lesson = History(np.array([4, 5, 6, 0, 1, 9]), np.array([1, 1, 1, 2, 2, 3]))
    draw = np.random.default_rng(0)

    shuffled = np.array([lesson.shuffled(draw) for _ in range(50)])

    assert {frozenset(row) for row in shuffled[:, :3].tolist()} == {frozenset({4, 5, 6})}
    assert set(shuffled[:, 0]) == {4, 5, 6}
    assert set(shuffled[:, 3]) == {0, 1}
    assert set(shuffled[:, 5]) == {9}


def test_a_household_with_one_purchase_teaches_nothing() -> None:
    found = histories([(0, 7, 1, 1), (1, 8, 1, 1), (1, 9, 1, 2)])

    assert [lesson.basket.tolist() for lesson in found.lessons(np.arange(2), date(2017, 4, 1))] == [[2, 3]]


def test_self_attention_does_not_see_padding() -> None:
    torch.manual_seed(0)
    model = SasRec(3, SequenceRecipe(dimensions=8)).eval()
    torch.nn.init.normal_(model.items.weight)  # padding too, as if it said something

    logits = model(torch.tensor([[3, 3, 0, 1]]))[0, -1]
    torch.nn.init.normal_(model.items.weight[3])

    assert torch.equal(model(torch.tensor([[3, 3, 0, 1]]))[0, -1], logits)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("kind", [Gru4Rec, SasRec])
def test_what_is_said_of_a_place_does_not_know_later_ones(kind: type[Gru4Rec | SasRec]) -> None:
    torch.manual_seed(0)
    model = kind(3, SequenceRecipe(dimensions=8)).eval()
    places = torch.tensor([[0, 1, 2, 0], [0, 1, 1, 1]])

    logits = model(places)

    assert torch.allclose(logits[0, :2], logits[1, :2], atol=1e-6)


@pytest.mark.parametrize("kind", [Gru4Rec, SasRec])
def test_a_taught_model_knows_what_comes_next(kind: type[Gru4Rec | SasRec]) -> None:
    turns = [(row, 100 * row + day, (row + day) % 3, day) for row in range(3) for day in range(12)]
    taught = histories(turns)
    torch.manual_seed(0)
    recipe = SequenceRecipe(steps=60, dimensions=16, learning_rate=0.02, dropout=0.0)
    model = kind(3, recipe)

    fit_sequence_model(model, taught, taught.lessons(np.arange(3), date(2017, 4, 1)), recipe)

    said = predict_next(model, taught, np.arange(3), date(2017, 4, 1))
    assert said.argmax(axis=1).tolist() == [0, 1, 2]  # the last was (row + 11) % 3


def test_each_look_at_the_test_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "looks.json"

    assert count_look(path, "first") == 1
    assert count_look(path, "second") == 2
    assert [look["command"] for look in json.loads(path.read_text())["looks"]] == ["first", "second"]
