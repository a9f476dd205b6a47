"""Searches on a made figure, on a head of six interests and on a tiny BERT."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")
pytest.importorskip("optuna", reason="needs the trainer extra (optuna)")

from optuna.distributions import FloatDistribution  # noqa: E402

from tests.kills import KilledError, killed_after  # noqa: E402
from tests.made_samples import write_made_samples  # noqa: E402
from tests.unit.test_trainer_plain import base, rows  # noqa: E402, F401 - a fixture
from trainer.errors import TrainerError  # noqa: E402
from trainer.fit_head import HeadRecipe  # noqa: E402
from trainer.head import HeadShape  # noqa: E402
from trainer.plain.fit import PlainRecipe  # noqa: E402
from trainer.progress import silent  # noqa: E402
from trainer.recipe import Recipe, parse_settings  # noqa: E402
from trainer.rows import TextVectors  # noqa: E402
from trainer.samples import Purchases, purchases_path  # noqa: E402
from trainer.search.cli import flags  # noqa: E402
from trainer.search.head import head_plan, head_search  # noqa: E402
from trainer.search.plain import PlainSearch, plain_plan, plain_space  # noqa: E402
from trainer.search.study import Look, SearchPlan, Settings, search  # noqa: E402
from trainer.workspace import Workspace  # noqa: E402

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
PLAN = SearchPlan(
    space={"rate": FloatDistribution(0.0, 1.0)}, usual={"rate": 0.1}, fixed={"of": "a hill"}, trials=14
)


def hill(settings: Settings, look: Look) -> dict[str, Any]:
    """Highest at .7; three looks on the way up."""
    height = 1.0 - abs(settings["rate"] - 0.7)
    for share in (0.5, 0.8, 1.0):
        look(share * height)
    return {"novel8": {"ndcg10": height}}


def test_the_usual_settings_come_first_and_better_ones_are_found(tmp_path: Path) -> None:
    found = search(PLAN, tmp_path / "hill.journal", hill)

    assert found["trials"][0]["settings"] == {"rate": 0.1}
    assert found["usual"]["figure"] == pytest.approx(0.4)
    assert found["best"]["figure"] > 0.9
    assert found["best"]["validation"] == {"novel8": {"ndcg10": found["best"]["figure"]}}
    assert len(found["trials"]) == 14


def test_a_trial_that_is_behind_is_ended_but_neither_at_its_first_look_nor_among_the_first_three(
    tmp_path: Path,
) -> None:
    found = search(PLAN, tmp_path / "hill.journal", hill)

    pruned = [trial for trial in found["trials"] if trial["pruned"]]
    assert pruned
    assert not any(trial["pruned"] for trial in found["trials"][:3])
    assert all(len(trial["looks"]) == 2 and trial["figure"] is None for trial in pruned)
    assert all(trial["looks"][1] < found["best"]["looks"][1] for trial in pruned)


def test_a_killed_search_goes_on_to_what_an_undisturbed_one_finds(tmp_path: Path) -> None:
    kill = killed_after(20)

    def killed(settings: Settings, look: Look) -> dict[str, Any]:
        def told(figure: float) -> None:
            look(figure)
            kill(1)

        return hill(settings, told)

    whole = search(PLAN, tmp_path / "whole.journal", hill)
    with pytest.raises(KilledError):
        search(PLAN, tmp_path / "killed.journal", killed)
    advanced: list[int] = []
    resumed = search(PLAN, tmp_path / "killed.journal", hill, advanced.append)

    assert advanced[0] > 3
    assert sum(advanced) == 14
    assert [trial["settings"] for trial in resumed["trials"]] == [
        trial["settings"] for trial in whole["trials"]
    ]
    assert resumed["best"]["settings"] == whole["best"]["settings"]


def test_a_search_killed_in_its_first_trial_begins_with_the_usual_settings_again(tmp_path: Path) -> None:
    def killed(settings: Settings, look: Look) -> dict[str, Any]:
        raise KilledError

    with pytest.raises(KilledError):
        search(PLAN, tmp_path / "hill.journal", killed)

    found = search(replace(PLAN, trials=2), tmp_path / "hill.journal", hill)

    assert [trial["settings"]["rate"] == 0.1 for trial in found["trials"]] == [True, False]


def test_a_study_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    search(replace(PLAN, trials=1), tmp_path / "hill.journal", hill)

    with pytest.raises(TrainerError, match=r"hill\.journal keeps a study with other of, seed: .*--name"):
        search(replace(PLAN, fixed={"of": "a valley"}, seed=1), tmp_path / "hill.journal", hill)


def test_a_head_is_looked_at_after_each_epoch_and_the_same_settings_give_the_same_figures(
    tmp_path: Path,
) -> None:
    found = head_search(
        made_work(tmp_path), HeadRecipe(epochs=2, batch=64, shape=HeadShape(hidden=8)), 2, silent
    )
    looks: list[float] = []

    once = found.judge({"learning_rate": 0.01}, looks.append)
    again = found.judge({"learning_rate": 0.01}, looks.append)

    assert len(looks) == 4
    assert looks[:2] == looks[2:]
    assert repr(once) == repr(again)  # nan where an interest has too few buyers
    assert once["novel8"]["ndcg10"] == looks[1]


def test_the_plan_of_a_head_names_its_samples_and_what_is_not_searched(tmp_path: Path) -> None:
    work = made_work(tmp_path)
    found = head_search(work, HeadRecipe(epochs=1, shape=HeadShape(hidden=8)), 1, silent)

    plan = head_plan(work, found, trials=3, seed=0)

    assert plan.usual == {"learning_rate": 2e-3, "weight_decay": 0.01, "dropout": 0.1, "batch": 64}
    assert plan.fixed["samples"] == "5a" * 32
    assert (plan.fixed["epochs"], plan.fixed["of"]) == (1, "head")
    assert plan.fixed.keys().isdisjoint(plan.space)


def test_a_search_of_plain_bert_ends_with_flags_and_leaves_no_checkpoints(
    base: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    recipe = PlainRecipe(tuning="lora", steps=6, batch=8, tokens=16, looks=2)
    found = PlainSearch(base, rows(16), rows(16), recipe, tmp_path / "plain.trial")
    plan = plain_plan(found, {"samples": "made"}, trials=2, seed=0)

    figures = search(plan, tmp_path / "plain.journal", found.judge)

    assert plan.usual == {"learning_rate": 1e-3, "weight_decay": 0.01, "dropout": 0.1, "rank": 8}
    assert [len(trial["looks"]) for trial in figures["trials"]] == [2, 2]
    assert not (tmp_path / "plain.trial").exists()


def test_only_tunings_with_a_rank_are_searched_for_one() -> None:
    assert "rank" in plain_space(PlainRecipe(tuning="adalora"))
    assert "rank" not in plain_space(PlainRecipe(tuning="full"))


def test_flags_are_told_in_three_digits() -> None:
    options = {"learning_rate": "--learning-rate ", "rank": "--rank "}

    assert flags({"learning_rate": 0.00123456, "rank": 16}, options) == "--learning-rate 0.00123 --rank 16"
    assert flags({"batch": 128}, {"batch": "--set head.batch="}) == "--set head.batch=128"


def test_settings_change_the_recipe_by_name() -> None:
    recipe = Recipe().with_settings(parse_settings(["head.learning_rate=0.004", "encoder.steps=300"]))

    assert recipe.head == replace(HeadRecipe(), learning_rate=0.004)
    assert (recipe.encoder.steps, type(recipe.encoder.steps)) == (300, int)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("head.rate=1", r"no setting is called head\.rate: choose one of .*head\.learning_rate"),
        ("head.epochs=1.5", r"head\.epochs is a whole number, 1\.5 is none"),
        ("head.epochs", r"--set head\.epochs sets no number: write it like --set head\.learning_rate=0\.003"),
    ],
)
def test_settings_that_are_none_are_refused(given: str, message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        Recipe().with_settings(parse_settings([given]))


def made_work(directory: Path) -> Workspace:
    """Samples and drawn vectors; every interest bought once, long ago, as tables ask for it."""
    work = Workspace(directory / "work")
    write_made_samples(work.samples_directory)
    samples = work.samples()
    purchases, count = samples.purchases(), len(samples.labels)
    each = np.arange(count, dtype=np.int32)
    buyer = np.full(count, np.flatnonzero(samples.fitted)[0], dtype=np.int32)
    early = Purchases(buyer, each, each, each, np.full(count, purchases.at_seconds[0] - 86_400))
    every = Purchases(*(np.concatenate([one, other]) for one, other in zip(early, purchases, strict=True)))
    np.savez(purchases_path(work.samples_directory), **every._asdict(), received_seconds=every.at_seconds)
    drawn = np.random.default_rng(0).normal(size=(len(samples.texts) + count, 384)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    work.save_vectors(TextVectors(drawn[: len(samples.texts)], drawn[len(samples.texts) :]))
    return work
