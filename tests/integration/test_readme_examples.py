"""What README.md tells a stranger to type: its two programs run as they stand, and all that it names is there."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from stream.cli import app
from stream.embedded.broker import TansuBroker
from stream.embedded.triton_server import BundledTriton
from stream.settings import PREFIX, known_variables
from tests.brokers import Broker, recreate_topics
from tests.worker_process import REPOSITORY, WorkerProcess

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MODELS = REPOSITORY / "triton_models"
USER = "u-1041"


def programs() -> list[str]:
    """The Python blocks, in order: produce, consume."""
    return re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """What stands in indented blocks, without comments."""
    lines = re.findall(r"^ {4}(\S.*)$", README, re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in lines]


@pytest.fixture
def triton(stub_python: Path) -> Iterator[BundledTriton]:
    with BundledTriton(MODELS, stub_python, models=["behaviour_encoder", "interest_head"]) as server:
        yield server


@pytest.fixture
def kafka(tansu: TansuBroker) -> str:
    broker = Broker("tansu", tansu.bootstrap_servers)
    asyncio.run(recreate_topics(broker, "readme", virtual_time=False))
    return tansu.bootstrap_servers


def first_line_about(user: str, program: str, environment: dict[str, str]) -> str:
    """What the consumer prints of that user first; it goes on for ever, so it is ended then."""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(user):
                    return line
        finally:
            process.kill()
    raise AssertionError("the consumer ended by itself")


@pytest.mark.embedded
def test_the_produced_event_comes_back_as_an_interest_update(
    kafka: str, triton: BundledTriton, tmp_path: Path
) -> None:
    produce, consume = programs()
    environment = {**os.environ, "KAFKA": kafka}
    settings = {
        "APP_ID": "readme",
        "VIRTUAL_TIME": "false",
        "KAFKA__BROKER": "tansu",
        "MODEL__ENABLED": "true",
        "MODEL__REPOSITORY": str(MODELS),
        "MODEL__GRPC_URL": triton.grpc_url,
    }

    with WorkerProcess(tmp_path, kafka, **settings) as worker:
        subprocess.run([sys.executable, "-c", produce], env=environment, check=True, timeout=60)
        worker.until(lambda samples: samples.get("interestflow_interest_updates_total|model", 0) >= 1)
        line = first_line_about(USER, consume, environment)

    assert line.startswith(f"{USER} wants [('")


def test_every_make_target_that_the_readme_names_is_there() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:^ {4}|`|: )make ([a-z-]+)", README, re.MULTILINE))

    assert {"demo", "test", "test-trainer", "env", "model", "bench-stream", "bench-model"} == named
    assert named <= targets


def test_every_command_and_option_that_the_readme_names_is_there() -> None:
    root = get_command(app)
    named = set(re.findall(r"\binterestflow ([a-z]+(?: (?:create|check|status))?)", "\n".join(commands())))

    assert named == {"topics create", "doctor", "worker", "model status"}
    for command in (*named, "topics check", "settings", "replay"):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0
    demo = root.commands["demo"]  # type: ignore[attr-defined]
    known = {option for parameter in demo.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", next(line for line in commands() if "DEMO=" in line))) <= known


def test_every_setting_that_the_readme_names_is_one() -> None:
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", README)) <= known_variables().keys()


def test_every_file_that_the_readme_links_to_is_there() -> None:
    linked = re.findall(r"\]\(([^)]+)\)", README)

    assert linked
    assert [path for path in linked if not (REPOSITORY / path).exists()] == []


def test_the_data_is_named_as_its_owner_and_packager_ask() -> None:
    assert "dunnhumby The Complete Journey (re-dated; its packager labels it simulated)" in README
    assert "research and education only" in README
