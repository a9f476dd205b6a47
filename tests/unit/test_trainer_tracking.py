"""What a training tells: to a real TensorBoard, and to Weights & Biases and MLflow by the calls that these have."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer import tracking
from trainer.errors import TrainerError
from trainer.tracking import require_tracker, tracked

pytestmark = [pytest.mark.trainer, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
FIGURES = {"rows": 12, "name": "a text", "validation": {"all": {"ndcg10": 0.5, "macro_auc": float("nan")}}}
TOLD = [
    ({"head/loss": 4.5}, 10),
    ({"head/loss": 14.5}, 20),
    ({"head/rows": 12.0, "head/validation/all/ndcg10": 0.5}, 21),
]


def train(report_to: str, directory: Path) -> None:
    with tracked(report_to, directory, {"head.epochs": 4}) as told:
        tell_loss = told.losses("head")
        for loss in range(20):
            tell_loss(float(loss))
        told.figures("head", FIGURES)


def test_tensorboard_gets_the_mean_of_ten_losses_and_every_figure(tmp_path: Path) -> None:
    train("tensorboard", tmp_path)

    found = EventAccumulator(str(tmp_path / "train")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("head/loss")] == [(10, 4.5), (20, 14.5)]
    assert found.Scalars("head/validation/all/ndcg10")[0].value == 0.5
    assert set(found.Tags()["scalars"]) == {"head/loss", "head/rows", "head/validation/all/ndcg10"}


def test_weights_and_biases_gets_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, settings = Recorded(), Recorded()
    config = SimpleNamespace(update=lambda values, allow_val_change: settings.log(values))
    install(monkeypatch, "wandb", init=lambda project, dir: run.begin(project), config=config)  # noqa: A006

    train("wandb", tmp_path)

    assert run.logged == TOLD
    assert settings.logged == [({"head.epochs": 4}, None)]
    assert (run.name, run.ended) == ("interestflow", True)


def test_mlflow_gets_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, settings = Recorded(), Recorded()
    limits = SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100)
    install(
        monkeypatch,
        "mlflow",
        search_experiments=lambda filter_string: [],
        create_experiment=lambda name, artifact_location, tags: name,
        start_run=lambda experiment_id, **_: run.begin(experiment_id),
        log_params=settings.log,
        log_metrics=run.log,
        end_run=run.finish,
        utils=SimpleNamespace(validation=limits),
    )

    train("mlflow", tmp_path)

    assert run.logged == TOLD
    assert settings.logged == [({"head.epochs": 4}, None)]
    assert (run.name, run.ended) == ("interestflow", True)


def test_a_run_that_fails_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Recorded()
    config = SimpleNamespace(update=lambda values, allow_val_change: None)
    install(monkeypatch, "wandb", init=lambda project, dir: run.begin(project), config=config)  # noqa: A006

    with pytest.raises(ZeroDivisionError), tracked("wandb", tmp_path, {}):
        raise ZeroDivisionError

    assert run.ended


def test_nothing_is_told_and_nothing_written_by_default(tmp_path: Path) -> None:
    train("none", tmp_path / "tracking")

    assert not (tmp_path / "tracking").exists()


def test_a_tracker_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)

    with pytest.raises(
        TrainerError, match=r"--report-to mlflow needs the package mlflow-skinny.*`pip install mlflow-skinny`"
    ):
        require_tracker("mlflow")


def test_an_unknown_tracker_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        TrainerError, match="--report-to comet is unknown: choose tensorboard, wandb, mlflow or none"
    ):
        require_tracker("comet")


class Recorded:
    """A run of a tracker."""

    def __init__(self) -> None:
        self.name = ""
        self.ended = False
        self.logged: list[tuple[dict[str, float], int | None]] = []

    def begin(self, name: str) -> "Recorded":
        self.name = name
        return self

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        self.logged.append((dict(values), step))

    def finish(self) -> None:
        self.ended = True


def install(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Put a module in the place of a package."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)
