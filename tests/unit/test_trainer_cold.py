"""Text where only text can help: what is hidden, what a name lends, and the table."""

from datetime import date
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.archive.description import InterestChoice  # noqa: E402
from tests.shop_files import purchase, write_archive  # noqa: E402
from trainer.cli import app  # noqa: E402
from trainer.cold.catalogue import Lines, new_products, read_lines, weights  # noqa: E402
from trainer.cold.categories import score_held_out_categories  # noqa: E402
from trainer.cold.hiding import Hiding, group_of  # noqa: E402
from trainer.cold.learner import Learner, LearnerRecipe, thinned  # noqa: E402
from trainer.cold.names import Likeness, borrowed, lending  # noqa: E402
from trainer.cold.product_features import COLUMNS, FREQUENCY, POPULARITY, product_features  # noqa: E402
from trainer.cold.product_types import parents_of, score_product_types  # noqa: E402
from trainer.cold.products import score_new_products  # noqa: E402
from trainer.cold.table import asked_of, cold_markdown, cold_table  # noqa: E402
from trainer.dates import seconds  # noqa: E402
from trainer.derived import FEATURES  # noqa: E402
from trainer.looks import LOOKS  # noqa: E402
from trainer.pooling import auc_interval, measure  # noqa: E402
from trainer.progress import silent  # noqa: E402
from trainer.record import plan_samples, write_samples  # noqa: E402
from trainer.rows import SplitReader, TextVectors  # noqa: E402
from trainer.samples import Purchases, Samples, outcomes  # noqa: E402

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

    assert set(before) == {"popularity", "department_frequency", "gbdt", "gbdt_tree", "text_alone", "text"}
    for name in before:
        np.testing.assert_array_equal(before[name][0][:, mine], after[name][0][:, mine])


def test_what_is_learnt_of_a_group_is_never_read_when_it_is_asked_about(
    shop: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may be learnt from bought all of the hidden group: neither targets nor features of the others say so."""
    _, before = score_held_out_categories(shop, vectors(shop), RECIPE, silent, held_out=True)
    hidden = group_of("brie")
    mine = np.array([group_of(name) == hidden for name in shop.labels.names])
    snapshot = Samples.snapshot

    def doctored(self: Samples, day: date) -> Any:
        found = snapshot(self, day)
        history = found.history.copy()
        history[np.ix_(self.fitted, mine)] *= 2
        return found._replace(history=history)

    def all_of_it(*args: Any) -> Any:
        interests, intent = outcomes(*args)
        interests[np.ix_(shop.fitted, mine)] = True
        return interests, intent

    monkeypatch.setattr(Samples, "snapshot", doctored)
    monkeypatch.setattr("trainer.head_inputs.outcomes", all_of_it)
    _, after = score_held_out_categories(shop, vectors(shop), RECIPE, silent, held_out=True)

    for name in before:
        np.testing.assert_array_equal(before[name][0][:, mine], after[name][0][:, mine])


def test_a_hidden_group_is_in_no_count_of_the_household(shop: Samples) -> None:
    hiding = Hiding(shop, vectors(shop))
    split = SplitReader(shop, vectors(shop)).read(shop.calendar.validation, held_out=False)
    left = group_of("brie")
    number = sum(group_of(name) == left for name in CATEGORIES)

    derived = hiding.derived(split, [group for group in range(5) if group != left])

    counted = torch.expm1(derived[:, 0, FEATURES.index("purchased_categories")])
    assert counted.max() <= number + 0.01
    assert torch.expm1(split.derived[:, 0, FEATURES.index("purchased_categories")]).max() > number
    orders = FEATURES.index("decayed_orders_56d")
    assert torch.equal(derived[..., orders], split.derived[..., orders])


def test_a_level_is_told_by_like_names_and_by_the_department() -> None:
    names = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2]]
    departments = np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 0]]
    rates = np.log(np.array([0.5, 0.99, 0.01, 0.99, 0.01], dtype=np.float32))
    known = np.array([True, False, True, False, True])

    by_name = Likeness(names, None).levels(rates, known)
    by_department = Likeness(None, departments).levels(rates, known)

    assert by_name[1] > by_name[3]  # whatever stands at the unknown ones
    assert by_department[1] == pytest.approx(by_department[0])
    assert by_department[1] > by_department[3]


def test_product_types_are_scored_with_and_without_text(shop: Samples) -> None:
    splits, said = score_product_types(shop, vectors(shop), RECIPE, silent, held_out=False)

    assert {"popularity", "frequency", "ease", "gbdt", "gbdt_tree", "text"} <= set(said)
    assert all(scores[0].shape == splits[0].inputs.bought.shape for scores in said.values())


def test_types_hang_on_their_category() -> None:
    texts = ["brie, cheese, dairy", "gouda, cheese, dairy", "tea, drinks", "rolls: bagels, rolls, pastry"]
    rows = np.arange(4, dtype=np.int32)
    catalogue = Purchases(rows, rows, rows, rows, np.arange(4, dtype=np.int64))

    parents = parents_of(catalogue, texts, ["brie", "gouda", "tea", "rolls: bagels"])

    assert (parents @ parents.T).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


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
    bought = features[..., 1] > 0
    rows = thinned(features, bought, RECIPE, draw)

    blind, seeing = (Learner(RECIPE, columns) for columns in ([0], [1]))
    for learner in (blind, seeing):
        learner.fit([rows])

    assert seeing.predict(features)[bought].mean() > 0.6
    assert blind.predict(features)[bought].mean() < 0.6


def test_trees_start_from_the_level_that_is_given() -> None:
    draw = np.random.default_rng(0)
    features = np.stack([draw.normal(size=(200, 4)), np.tile([-2.0, -1.0, 1.0, 2.0], (200, 1))], axis=-1)
    bought = draw.random((200, 4)) < 1 / (1 + np.exp(-features[..., 1]))
    learner = Learner(RECIPE, [0], level=1)

    learner.fit([thinned(features.astype(np.float32), bought, RECIPE, draw)])

    said = learner.predict(features.astype(np.float32)).mean(axis=0)
    np.testing.assert_allclose(said, bought.mean(axis=0), atol=0.06)


def test_of_what_was_not_bought_one_in_so_many_is_learnt_from() -> None:
    bought = np.zeros((100, 50), dtype=np.bool_)
    bought[:, 0] = True

    rows = thinned(
        bought[..., None].astype(np.float32), bought, LearnerRecipe(thinning=7), np.random.default_rng(0)
    )

    assert rows.bought.sum() == 100
    assert 600 < len(rows.bought) - 100 < 800
    np.testing.assert_array_equal(rows.features[:, 0] > 0, rows.bought)


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

    assert set(said) == {"popularity", "type_frequency", "gbdt_tree", "text_alone", "text"}
    found = measure(cutoffs, said["text"], probabilities=True)
    assert found["micro_auc"] is not None
    assert found["micro_auc"] > 0.9


def test_a_node_is_told_how_its_new_products_did() -> None:
    """Two products came to text 0 and one to text 1, long enough ago; one buyer more of them than of the other."""
    day = 86_400
    lines = Lines(
        user=np.array([0, 1, 0, 2]),
        text=np.array([0, 0, 0, 1]),
        product=np.array([7, 7, 3, 5]),
        at_seconds=np.array([100 * day, 101 * day, 102 * day, 103 * day]),
        nodes=np.tile(np.arange(2)[:, None], (1, 3)),
    )
    everyone, texts = np.ones(3, dtype=np.bool_), np.eye(2, 4, dtype=np.float32)

    found = product_features(lines, everyone, texts, np.arange(3), np.array([0, 1]), 200 * day)

    assert found.shape == (3, 2, max(COLUMNS["text"]) + 1)
    launches = found[0, :, POPULARITY + 1]
    # 5 products that sold like the mean, and what came: 3 buyers of 2, 1 of 1; of 3 households.
    mean = 4 / 3
    expected = [(3 + 5 * mean) / 7 / 3, (1 + 5 * mean) / 6 / 3]
    np.testing.assert_allclose(np.exp(launches), expected, rtol=1e-3)
    assert found[2, 1, FREQUENCY] > found[0, 1, FREQUENCY] == 0.0


def test_tasks_that_the_figures_have_are_not_asked_again(tmp_path: Path) -> None:
    row = {"ndcg10": 0.5, "macro_auc": 0.75, "micro_auc": 0.8}
    gain = {"ndcg10_ci": [0.1, 0.2], "macro_auc_ci": [0.0, 0.1]}
    table = {"all": {"models": {"gbdt": row, "text": row}, "text_minus": {"gbdt": gain}}}
    json, page = tmp_path / "cold.json", tmp_path / "cold.md"
    json.write_text(dumps({"cutoff": "test", "tasks": {"products": table}}), encoding="utf-8")
    line = ["cold", "--task", "products", "--json", str(json), "--page", str(page), "--work", str(tmp_path)]

    again = CliRunner().invoke(app, [*line, "--cutoff", "test"])
    other = CliRunner().invoke(app, line)

    assert again.exit_code == 0, again.output
    assert "| products | all | gbdt | 0.5000 | 0.7500 | 0.8000 | +0.1000 to +0.2000 |" in page.read_text()
    assert not (tmp_path / LOOKS).exists()
    assert "has figures of test, and validation is asked for: name another file" in str(other.exception)


def test_draws_of_one_seed_give_the_interval_of_a_difference(shop: Samples) -> None:
    splits, said = score_product_types(shop, vectors(shop), RECIPE, silent, held_out=False)
    cutoffs = asked_of(splits, ["all"])["all"]

    table = cold_table({"all": cutoffs}, said)["all"]["text_minus"]

    assert table["gbdt"]["macro_auc_ci"] == auc_interval(said["text"], said["gbdt"], cutoffs, draws=200)
