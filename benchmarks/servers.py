"""The servers that benchmarks run against, on loopback, each with nothing in it."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stream.embedded.broker import TansuBroker
from stream.embedded.triton_server import BundledTriton, TritonOptions

REPOSITORY: Final = Path("triton_models")
MODELS: Final = ("behaviour_encoder", "interest_head")
_TRITON_PYTHON = "INTERESTFLOW_TRITON_PYTHON"
_LOG_DIRECTORY: Final = Path(".cache/bench-logs")
TRITON_LOG: Final = _LOG_DIRECTORY / "triton.log"


@contextmanager
def empty_broker(kind: str) -> Iterator[str]:
    """The address of a fresh broker: ``tansu`` (embedded, in memory) or ``kafka`` (Apache Kafka, by Java and Maven)."""
    if kind == "tansu":
        with TansuBroker(log_path=_LOG_DIRECTORY / "tansu.log") as tansu:
            yield tansu.bootstrap_servers
        return
    # Only here: Kafka's jars are the tests' business, and the embedded broker needs none.
    from tests.kafka_node import KafkaNode  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory, KafkaNode(Path(directory)) as node:
        yield node.bootstrap_servers


def triton_python() -> Path:
    """Interpreter of the bundled Triton's environment: INTERESTFLOW_TRITON_PYTHON, else .venv-triton of this directory."""
    return Path(os.environ.get(_TRITON_PYTHON, ".venv-triton/bin/python"))


def bundled_triton(repository: Path, models: Sequence[str]) -> BundledTriton:
    """The bundled Triton with these models, not started."""
    return BundledTriton(
        repository,
        triton_python(),
        models=models,
        options=TritonOptions(log_path=TRITON_LOG),
    )
