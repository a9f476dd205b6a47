"""Every command of the trainer that a page tells is one that its command line knows, with these options."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from typer.testing import CliRunner

from trainer.cli import app

pytestmark = pytest.mark.trainer
_ROOT = Path(__file__).parents[2]
_PAGES = (_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md")))
#: On a line of its own, or within a sentence, where it may go on in the next line.
_COMMANDS = re.compile(
    r"^ {4}\S*interestflow-trainer ([^\n#&]+)|`interestflow-trainer ([^`]+)`", re.MULTILINE
)
#: What stands for a number of the reader's.
_NUMBER = re.compile(r"(?<= )N\b")


def told() -> list[tuple[str, str]]:
    """Page and command without its name."""
    return [
        (page.name, " ".join((line or phrase).split()))
        for page in _PAGES
        for line, phrase in _COMMANDS.findall(page.read_text(encoding="utf-8"))
        if "…" not in line + phrase
    ]


def test_the_pages_tell_commands_of_every_kind() -> None:
    pages = {page for page, _ in told()}

    assert {
        "evaluation.md",
        "fine-tune.md",
        "models.md",
        "plain-bert.md",
        "unsupervised.md",
        "updates.md",
    } <= pages


@pytest.mark.parametrize(("page", "command"), sorted(set(told())))
def test_a_told_command_is_known(page: str, command: str) -> None:
    # Options are read before the help is shown.
    done = CliRunner().invoke(app, [*shlex.split(_NUMBER.sub("1", command)), "--help"])

    assert done.exit_code == 0, f"{page}: {command}\n{done.output}"


@pytest.mark.parametrize("command", ["evaluate --no-such", "evalute", "train --seeds 3"])
def test_a_command_that_is_not_known_is_refused(command: str) -> None:
    assert CliRunner().invoke(app, [*shlex.split(command), "--help"]).exit_code == 2
