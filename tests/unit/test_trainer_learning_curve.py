"""The learning curve: which steps are made, which are read; what the steps themselves do is tested elsewhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

import trainer.learning_curve as curve_module
from tests.made_samples import write_made_samples
from trainer.errors import TrainerError
from trainer.learning_curve import learning_curve
from trainer.progress import silent
from trainer.recipe import Recipe
from trainer.workspace import Workspace

pytestmark = pytest.mark.trainer


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    write_made_samples(made.samples_directory)
    return made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that are made, each a note of its name and share."""
    notes: list[str] = []

    def note(name: str, figures: dict[str, Any]) -> Any:
        def step(part: Workspace, *_: object) -> dict[str, Any]:
            notes.append(f"{name} {part.directory.name}")
            return figures

        return step

    monkeypatch.setattr(curve_module, "train_encoder", note("encoder", {"agreement_unseen_after": 0.5}))
    monkeypatch.setattr(curve_module, "train_head", note("head", {"rows": 7}))
    monkeypatch.setattr(curve_module, "_judge", note("judged", {"all": {}}))
    return notes


def test_a_finished_share_is_read_and_not_made_again(work: Workspace, made: list[str]) -> None:
    first = learning_curve(work, [50], Recipe(), silent)
    both = learning_curve(work, [50, 100], Recipe(), silent)

    assert made == [f"{step} {share}" for share in (50, 100) for step in ("encoder", "head", "judged")]
    assert both[0] == first[0]
    assert both[0]["users"] < both[1]["users"]
    assert both[1]["rows"] == 7


def test_a_run_that_was_killed_goes_on_at_its_step(
    work: Workspace, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(curve_module, "train_head", killed)
        with pytest.raises(KeyboardInterrupt):
            learning_curve(work, [100], Recipe(), silent)

    learning_curve(work, [100], Recipe(), silent)

    assert made == ["encoder 100", "head 100", "judged 100"]


def test_another_recipe_makes_every_step_again(work: Workspace, made: list[str]) -> None:
    learning_curve(work, [100], Recipe(), silent)
    made.clear()

    learning_curve(work, [100], replace(Recipe(), threads=1), silent)

    assert made == ["encoder 100", "head 100", "judged 100"]


@pytest.mark.parametrize(("share", "complaint"), [(0, "is none"), (101, "is none"), (0.001, "leave nobody")])
def test_a_share_that_is_none_is_refused(work: Workspace, share: float, complaint: str) -> None:
    with pytest.raises(TrainerError, match=complaint):
        learning_curve(work, [share], Recipe(), silent)
