"""Text where only text can help: what is hidden, what a name lends, and the table."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.archive.description import InterestChoice  # noqa: E402
from tests.shop_files import purchase, write_archive  # noqa: E402
from trainer.cold.catalogue import Lines, new_products, read_lines, weights  # noqa: E402
from trainer.cold.categories import group_of, score_held_out_categories  # noqa: E402
from trainer.cold.learner import Block, Learner, LearnerRecipe  # noqa: E402
from trainer.cold.names import borrowed, lending  # noqa: E402
from trainer.cold.product_types import score_product_types  # noqa: E402
from trainer.cold.products import score_new_products  # noqa: E402
from trainer.cold.table import asked_of, cold_markdown, cold_table  # noqa: E402
from trainer.dates import seconds  # noqa: E402
from trainer.pooling import measure  # noqa: E402
from trainer.progress import silent  # noqa: E402
from trainer.record import plan_samples, write_samples  # noqa: E402
from trainer.rows import TextVectors  # noqa: E402
from trainer.samples import Samples  # noqa: E402

pytestmark = pytest.mark.trainer
CATEGORIES = ("brie", "gouda", "feta", "green tea", "black tea", "white tea", "red wine", "port wine")
KINDS = 3
RECIPE = LearnerRecipe(rounds=20, thinning=1, least_rows=5)
USERS, WEEKS = 40, 20


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Every user buys one kind of thing, and other kinds now and then; one department, so that only names tell."""
    draw = np.random.default_rng(0)
    bodies = []
    for user in range(USERS):
        for week in range(WEEKS):
            kind = user % KINDS if draw.random() < 0.9 else int(draw.integers(KINDS))
            own = [name for name in CATEGORIES if kind_of(name) == kind]
            name = own[int(draw.integers(len(own)))]
            bodies.append(purchase(f"u{user}", 7 * week + 0.1 * draw.random(), name))
    directory = tmp_path_factory.mktemp("cold")
    archive = write_archive(
        directory / "events",
        sorted(bodies, key=lambda body: body["occurred_at_ms"]),
        choice=InterestChoice(min_buyers=1),
    )
    return write_samples(plan_samples(archive), directory / "samples")


def kind_of(name: str) -> int:
    return 1 if "tea" in name else 2 if "wine" in name else 0


def vectors(samples: Samples) -> TextVectors:
    """Names of one kind are alike."""

    def encoded(texts: list[str]) -> Any:
        draw = np.random.default_rng(1)
        rows = np.stack([10 * np.eye(384)[kind_of(text)] + draw.normal(size=384) * 0.1 for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return TextVectors(encoded(samples.texts), encoded(samples.labels.names))


def test_held_out_categories_are_told_by_their_names_alone(shop: Samples) -> None:
    splits, said = score_held_out_categories(shop, vectors(shop), RECIPE, silent, held_out=False)

    assert [split.day for split in splits] == [shop.calendar.validation]
    found = cold_table(asked_of(splits, ["all"]), said)["all"]["models"]
    assert found["text"]["micro_auc"] > 0.8
    assert found["text"]["micro_auc"] > found["gbdt"]["micro_auc"] + 0.1
    assert {group_of(name) for name in CATEGORIES} <= set(range(5))


def test_what_is_bought_of_a_hidden_category_changes_nothing_said_of_it(
    shop: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before = score_held_out_categories(shop, vectors(shop), RECIPE, silent, held_out=True)
    hidden = group_of("brie")
    mine = np.array([group_of(name) == hidden for name in shop.labels.names])
    snapshot = Samples.snapshot

    def doctored(self: Samples, day: date) -> Any:
        """Whoever is held out bought twice as much of the hidden group."""
        found = snapshot(self, day)
        history = found.history.copy()
        history[np.ix_(self.held_out, mine)] *= 2
        return found._replace(history=history)

    monkeypatch.setattr(Samples, "snapshot", doctored)
    _, after = score_held_out_categories(shop, vectors(shop), RECIPE, silent, held_out=True)

    for name in ("popularity", "department_frequency", "gbdt", "text"):
        np.testing.assert_array_equal(before[name][0][:, mine], after[name][0][:, mine])


def test_product_types_are_scored_with_and_without_text(shop: Samples) -> None:
    splits, said = score_product_types(shop, vectors(shop), RECIPE, silent, held_out=False)

    assert {"popularity", "frequency", "ease", "gbdt", "text"} <= set(said)
    assert all(scores[0].shape == splits[0].inputs.bought.shape for scores in said.values())


def test_a_name_lends_what_like_names_have() -> None:
    names = np.array([[1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 1, 0.01]], dtype=np.float32)
    known = np.array([False, True, True, True])

    weights = lending(names, known)

    assert weights[0].tolist() == [0.0, 0.0, 0.0, 0.0]  # nobody borrows from what is not known
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-5)
    features = np.array([[[9.0], [5.0], [1.0], [1.0]]], dtype=np.float32)
    assert borrowed(features, weights)[0, 0, 0] == pytest.approx(5.0, abs=0.01)


def test_a_learner_sees_its_own_columns_only() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(200, 4, 2)).astype(np.float32)
    block = Block(features, features[..., 1] > 0)

    blind, seeing = (Learner(RECIPE, columns) for columns in ([0], [1]))
    for learner in (blind, seeing):
        learner.fit([block])

    assert seeing.predict(features)[block.bought].mean() > 0.6
    assert blind.predict(features)[block.bought].mean() < 0.6


def test_the_table_says_what_text_adds_to_each_rival(shop: Samples, tmp_path: Path) -> None:
    splits, _ = score_held_out_categories(shop, vectors(shop), RECIPE, silent, held_out=False)
    bought = [split.inputs.bought.numpy().astype(np.float32) for split in splits]
    flat = [np.full_like(scores, 0.5) for scores in bought]

    table = cold_table(asked_of(splits, ["all"]), {"popularity": flat, "text": bought})

    assert table["all"]["text_minus"]["popularity"]["ndcg10_ci"][0] > 0.0
    text = cold_markdown({"categories": table})
    assert "| categories | all | text | 1.0000 |" in text
    assert "| categories | all | popularity |" in text


@pytest.fixture(scope="module")
def arrivals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Samples]:
    """A shop in which every week brings a new product of each kind, and users try those of their kind."""
    bodies = []
    for week in range(WEEKS + 1):
        for user in range(USERS):
            kind = user % KINDS
            name = next(name for name in CATEGORIES if kind_of(name) == kind)
            body = purchase(f"u{user}", 7 * week + 0.01 * user, name)
            body["items"].append({**body["items"][0], "item_id": f"new {name} {week}"})
            bodies.append(body)
    directory = tmp_path_factory.mktemp("arrivals")
    choice = InterestChoice(min_buyers=1)
    archive = write_archive(directory / "events", bodies, choice=choice)
    return archive, write_samples(plan_samples(archive), directory / "samples")


def test_new_products_are_those_that_nobody_bought_before(arrivals: tuple[Path, Samples]) -> None:
    archive, samples = arrivals
    lines = read_lines(archive, samples)

    found, texts = new_products(lines, seconds(samples.calendar.validation), 2**40)

    start = seconds(samples.calendar.validation)
    assert not set(found.tolist()) & set(lines.before(start).product.tolist())
    assert len(found) > 0
    assert len(texts) == len(found)


def test_weights_decay_by_half(arrivals: tuple[Path, Samples]) -> None:
    lines = Lines(
        np.array([0, 0]),
        np.array([1, 1]),
        np.array([5, 6]),
        np.array([0, 28 * 86_400]),
        np.zeros((2, 3), dtype=np.int64),
    )

    found = weights(lines, 28 * 86_400, 28.0, (1, 2))

    assert found.tolist() == [[0.0, 1.5]]


def test_new_products_are_scored_by_their_place_and_their_text(arrivals: tuple[Path, Samples]) -> None:
    archive, samples = arrivals

    cutoffs, said = score_new_products(samples, vectors(samples), archive, RECIPE, silent, held_out=False)

    assert set(said) == {"popularity", "type_frequency", "gbdt", "text"}
    found = measure(cutoffs, said["text"], probabilities=True)
    assert found["micro_auc"] is not None
    assert found["micro_auc"] > 0.9
