"""What ``interestflow model`` says, and what it refuses before it asks anyone."""

import pytest
from typer.testing import CliRunner

from stream.cli import app
from stream.errors import ConfigurationError
from stream.model_cli import describe
from stream.rollout import Rollout


def rollout(**changes: object) -> Rollout:
    fields: dict[str, object] = {"rollout_id": "a", "champion": "1", "changed_at_ms": 1, "reason": "ordered"}
    return Rollout.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (None, "no rollout: each worker takes the newest version of its repository as it starts"),
        (rollout(), "champion 1, no challenger (ordered)"),
        (rollout(challenger="2", mode="shadow"), "champion 1, challenger 2 in the shadow (ordered)"),
        (
            rollout(challenger="2", mode="canary", share=0.05),
            "champion 1, challenger 2 for 5.0% of the users (ordered)",
        ),
        (
            rollout(champion="2", previous="1", reason="promoted"),
            "champion 2, no challenger, previous champion 1 (promoted)",
        ),
    ],
)
def test_a_rollout_is_told_in_one_line(order: Rollout | None, said: str) -> None:
    assert describe(order) == said


@pytest.mark.parametrize("command", ["shadow", "canary", "promote"])
@pytest.mark.parametrize("version", ["0", "latest", "../1", "01"])
def test_what_is_no_version_is_refused_with_an_example(command: str, version: str) -> None:
    result = CliRunner().invoke(app, ["model", command, version])

    assert isinstance(result.exception, ConfigurationError)
    assert f"{version!r} is no version: name a version directory of interest_head, such as 2" in str(
        result.exception
    )


@pytest.mark.parametrize("share", ["0", "1.5"])
def test_a_share_is_a_part_of_the_users(share: str) -> None:
    assert CliRunner().invoke(app, ["model", "canary", "2", "--share", share]).exit_code == 2
