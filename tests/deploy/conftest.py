"""The Triton of docker-compose.yml, as far as it goes without its image: our start script on the bundled server."""

import http
import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from stream.embedded.ports import LOOPBACK
from stream.embedded.process import ChildProcess
from stream.embedded.stub_environment import inspect_stub_environment
from stream.embedded.triton_layout import REGION_PREFIX, lay_out, remove_regions, server_environment
from stream.embedded.triton_server import TritonPorts
from tests.deploy.compose_file import ROOT
from tests.toy_repository import ENCODER, HEAD, write_toy_repository

SERVE_MODELS = ROOT / "deploy" / "docker" / "serve-models.sh"


class ServedModels(NamedTuple):
    """A running Triton with a small model repository."""

    ports: TritonPorts
    repository: Path

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes it."""
        return f"http://{LOOPBACK}:{self.ports.metrics}/metrics"


@pytest.fixture(scope="session")
def served_models(stub_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModels]:
    """The bundled server, started by the script of the image; only places and ports are the test's."""
    directory = tmp_path_factory.mktemp("served")
    write_toy_repository(directory / "models")
    ports = TritonPorts.free()
    environment = inspect_stub_environment(stub_python)
    server, backends = lay_out(environment, directory / "cache")
    region_prefix = f"{REGION_PREFIX}{os.getpid()}-served-"
    changes = server_environment(environment, os.environ)
    changes |= {"MODEL_REPOSITORY": str(directory / "models"), "TRITON_ADMIN_KEY": None}
    changes["PATH"] = f"{changes['PATH']}{os.pathsep}{server.parent}"
    process = ChildProcess(
        "the Triton of docker-compose.yml",
        [
            str(SERVE_MODELS),
            *(f"--{service}-address={LOOPBACK}" for service in ("http", "grpc", "metrics")),
            *(f"--http-port={ports.http}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}"),
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={region_prefix}",
        ],
        log_path=directory / "triton.log",
        environment=changes,
        stop_grace_seconds=20.0,
    )
    process.start()
    try:
        process.wait_until_ready(lambda: _is_ready(ports), timeout_seconds=60.0)
        yield ServedModels(ports, directory / "models")
    finally:
        process.stop()
        remove_regions(region_prefix)


def _is_ready(ports: TritonPorts) -> bool:
    paths = [(ports.http, f"/v2/models/{model}/ready") for model in (ENCODER, HEAD)]
    # The three services start one after the other.
    return all(_is_ok(port, path) for port, path in [*paths, (ports.metrics, "/metrics")])


def _is_ok(port: int, path: str) -> bool:
    # Not urllib: it would send even a loopback request to a proxy that the environment names.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
