"""The bundled Triton with the toy repository, started once for the contract tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.embedded.triton_server import BundledTriton, TritonOptions
from stream.model.repository import ENCODER, HEAD, load_bundle
from tests.toy_repository import write_toy_repository
from tests.toy_served import DIMENSIONS, LABELS, Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, stub_python: Path) -> Iterator[Served]:
    repository = write_toy_repository(tmp_path_factory.mktemp("models"), labels=LABELS, dimensions=DIMENSIONS)
    options = TritonOptions(cache_directory=tmp_path_factory.mktemp("triton"), exit_timeout_seconds=3)
    with BundledTriton(repository, stub_python, models=[ENCODER, HEAD], options=options) as triton:
        yield Served(triton, load_bundle(repository))


@pytest.fixture
def mortal(served: Served) -> Iterator[Served]:
    """The same server, started anew after the test."""
    yield served
    served.triton.stop()
    served.triton.start()
