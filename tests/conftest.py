"""Servers that tests share; each is started once per run, and only if a test asks for it.

A server that can't be had skips its tests with one line that says why. Where it must be there (a gate that
may not pass by skipping), TESTS_MUST_RUN=1 makes the same line a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from stream.embedded import stub_environment
from stream.embedded.broker import TansuBroker
from tests.brokers import Broker
from tests.kafka_node import KafkaNode, KafkaUnavailableError

ROOT = Path(__file__).parents[1]

# A slow or busy machine is no reason to fail.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail under TESTS_MUST_RUN=1."""
    if os.environ.get("TESTS_MUST_RUN") == "1":
        pytest.fail(f"{reason} (TESTS_MUST_RUN=1 forbids to skip)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TansuBroker]:
    """The embedded broker; tests keep apart by topic names of their own."""
    with TansuBroker(log_path=tmp_path_factory.mktemp("tansu") / "tansu.log") as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """Apache Kafka, one node; tests keep apart by topic names of their own, and leave it running."""
    try:
        node = KafkaNode(tmp_path_factory.mktemp("kafka"))
    except KafkaUnavailableError as error:
        unavailable(str(error))
    with node:
        yield node


@pytest.fixture(scope="session")
def stub_python() -> Path:
    """Interpreter of the stub environment: INTERESTFLOW_TRITON_PYTHON, else .venv-triton of this repository."""
    python = ROOT / stub_environment.stub_python(os.environ)
    if not python.exists():
        cure = f"`make env`, or set {stub_environment.STUB_PYTHON_VARIABLE}"
        unavailable(f"no environment for the bundled Triton at {python}: {cure}")
    return python


@pytest.fixture(
    params=[
        pytest.param("tansu", marks=pytest.mark.embedded),
        pytest.param("kafka_node", marks=pytest.mark.kafka),
    ]
)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each kind of broker in turn."""
    server = request.getfixturevalue(request.param)
    return Broker("tansu" if request.param == "tansu" else "kafka", server.bootstrap_servers)
