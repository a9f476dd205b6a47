"""The commands of docs/unsupervised.md, as they stand there, on a made shop and the shipped model."""

import re
import shlex
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from typer.testing import CliRunner  # noqa: E402

from tests.made_samples import REPOSITORY, write_made_samples  # noqa: E402
from trainer.cli import app  # noqa: E402

pytestmark = pytest.mark.trainer
PAGE = (Path(__file__).parents[2] / "docs" / "unsupervised.md").read_text(encoding="utf-8")
#: What would take long; that it runs is seen in a few steps.
SHORT = {"pretrain": ["--steps", "2"], "contrast": ["--steps", "2"]}


def commands() -> list[str]:
    return re.findall(r"^ {4}interestflow-trainer (.+)$", PAGE, re.MULTILINE)


def test_the_page_has_the_commands_of_clusters() -> None:
    assert [command.split()[0] for command in commands()][:2] == ["samples", "user-vectors"]


@pytest.mark.timeout(600)  # many commands, each reads a model
def test_every_command_of_the_page_runs_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_made_samples(tmp_path / "data" / "trainer" / "samples")
    (tmp_path / "triton_models").symlink_to(REPOSITORY)
    monkeypatch.chdir(tmp_path)

    for command in commands()[1:]:  # the first folds the real events, which the made shop stands for
        done = CliRunner().invoke(app, [*shlex.split(command), *SHORT.get(command.split()[0], [])])
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"

    assert "| id | users |" in (tmp_path / "data" / "trainer" / "clusters.md").read_text(encoding="utf-8")
    assert (
        (tmp_path / "data" / "trainer" / "members.csv")
        .read_text(encoding="utf-8")
        .startswith("user,cluster\n")
    )
