"""The bundled Triton: the CPU server of the nvidia-pytriton wheel, python backend only, loopback only.

It is the default of the demo and the tests. It is Triton 2.51, for which critical fixes have come out since:
nothing but this machine may reach it, and what could change or read files (repository control, shared memory,
trace and log settings) needs an admin key made at each start.
"""

import http
import http.client
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.embedded.ports import LOOPBACK, free_ports, require_free_port
from stream.embedded.process import ChildProcess
from stream.embedded.stub_environment import inspect_stub_environment
from stream.embedded.triton_layout import (
    REGION_PREFIX,
    lay_out,
    remove_left_over_regions,
    remove_regions,
    server_environment,
)
from stream.errors import EmbeddedServerError, ModelRepositoryError

_NAME = "the bundled Triton"
_PROBE_TIMEOUT_SECONDS = 2.0
# Beyond the server's own exit timeout; with a dead stub it needs all of that.
_STOP_MARGIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TritonPorts:
    """Loopback ports of one server."""

    http: int
    grpc: int
    metrics: int

    @classmethod
    def free(cls) -> "TritonPorts":
        """Three that are free now."""
        return cls(*free_ports(3))


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How to run the bundled server."""

    cache_directory: Path = Path(".cache/triton")
    """Where the backend is laid out with the stub of this Python, and the log's default place."""
    ports: TritonPorts | None = None
    """Free ones if None."""
    log_path: Path | None = None
    """`CACHE_DIRECTORY/triton-GRPCPORT.log` if None."""
    start_timeout_seconds: float = 120.0
    """Some 1.5 s plus the loading of the models."""
    exit_timeout_seconds: int = 15
    """How long a stop waits for requests in flight."""
    model_config_name: str | None = None
    """Picks `MODEL/configs/NAME.pbtxt`."""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """More environment for the server and its stubs, such as OMP_NUM_THREADS."""
    extra_flags: tuple[str, ...] = ()
    """More flags for tritonserver."""


class BundledTriton:
    """A running bundled server, as a context manager; its addresses and key stay the same over a restart.

    Args:
        model_repository: directory of the models.
        python: interpreter of the stub environment, in which nvidia-pytriton is installed.
        models: names of the models to load; ready means that each is.
        options: see `TritonOptions`.

    Raises:
        EmbeddedServerError: the stub environment does not fit.
        ModelRepositoryError: a named model is not in the repository.
    """

    def __init__(
        self,
        model_repository: Path,
        python: Path,
        *,
        models: Sequence[str],
        options: TritonOptions | None = None,
    ) -> None:
        self._options = options or TritonOptions()
        self._models = tuple(models)
        _require_models(model_repository, self._models)
        environment = inspect_stub_environment(python)
        self._ports = self._options.ports or TritonPorts.free()
        self._region_prefix = f"{REGION_PREFIX}{os.getpid()}-{secrets.token_hex(4)}-"
        self.admin_key = secrets.token_hex(16)
        server, backends = lay_out(environment, self._options.cache_directory)
        flags = triton_flags(self._ports, self._models, self._options)
        self._process = ChildProcess(
            _NAME,
            [
                *(str(server), "--model-repository", str(model_repository.absolute())),
                *("--backend-directory", str(backends)),
                *flags,
                *restriction_flags(self.admin_key),
                f"--backend-config=python,shm-region-prefix-name={self._region_prefix}",
                *self._options.extra_flags,
            ],
            log_path=self._options.log_path
            or self._options.cache_directory / f"triton-{self._ports.grpc}.log",
            environment=server_environment(environment, os.environ) | dict(self._options.environment),
            stop_grace_seconds=self._options.exit_timeout_seconds + _STOP_MARGIN_SECONDS,
        )
        self.start_seconds = 0.0

    @property
    def grpc_url(self) -> str:
        """`host:port`, as tritonclient.grpc wants it."""
        return f"{LOOPBACK}:{self._ports.grpc}"

    @property
    def http_url(self) -> str:
        """Base of the HTTP API, with scheme."""
        return f"http://{LOOPBACK}:{self._ports.http}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes it."""
        return f"http://{LOOPBACK}:{self._ports.metrics}/metrics"

    @property
    def admin_headers(self) -> dict[str, str]:
        """Metadata of a gRPC call that opens repository control; over HTTP the header is `admin-key`."""
        return {"triton-grpc-protocol-admin-key": self.admin_key}

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives; says nothing about its stubs."""
        return self._process.is_running

    def start(self) -> None:
        """Start it and block until every named model is ready.

        Raises:
            EmbeddedServerError: a port is taken, or it did not start.
        """
        for port in (self._ports.http, self._ports.grpc, self._ports.metrics):
            require_free_port(port, server=_NAME)
        remove_left_over_regions()
        remove_regions(self._region_prefix)  # left by a kill() of ours
        self._process.start()
        try:
            self.start_seconds = self._process.wait_until_ready(
                self.is_ready, timeout_seconds=self._options.start_timeout_seconds
            )
        except EmbeddedServerError:
            remove_regions(self._region_prefix)
            raise

    def is_ready(self) -> bool:
        """Whether every named model says it is ready. A dead stub goes unseen: only an inference shows it."""
        return all(_is_model_ready(self._ports.http, model) for model in self._models)

    def stop(self) -> None:
        """End it after the requests in flight, and remove its shared memory."""
        self._process.stop()
        remove_regions(self._region_prefix)

    def kill(self) -> None:
        """End it and its stubs by SIGKILL, as a crash would."""
        self._process.kill()

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


def triton_flags(ports: TritonPorts, models: Sequence[str], options: TritonOptions) -> list[str]:
    """The server's flags that don't depend on the environment."""
    flags = [
        *(f"--{service}-address={LOOPBACK}" for service in ("http", "grpc", "metrics")),
        *(f"--http-port={ports.http}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}"),
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        # Strict readiness stays false for ever after one failed load; each model is asked instead.
        "--strict-readiness=false",
        f"--exit-timeout-secs={options.exit_timeout_seconds}",
        "--metrics-config=summary_latencies=true",
        "--metrics-config=summary_quantiles=0.5:0.05,0.9:0.01,0.99:0.001",
        # There is no GPU: without these two it logs an error for each thing it doesn't find.
        *("--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0"),
        # Its default of 5 min answers a client's keepalive (10 s) with GOAWAY.
        "--grpc-http2-min-recv-ping-interval-without-data=5000",
    ]
    if options.model_config_name is not None:
        flags.append(f"--model-config-name={options.model_config_name}")
    return flags


def restriction_flags(admin_key: str) -> list[str]:
    """Close to all but the key's holder what changes models, maps memory or writes files.

    The key is on the command line, for the server takes it nowhere else: other users of this machine can see it.
    """
    closed = f"model-repository,shared-memory,trace,logging:admin-key={admin_key}"
    return [f"--grpc-restricted-protocol={closed}", f"--http-restricted-api={closed}"]


def _require_models(repository: Path, models: Sequence[str]) -> None:
    missing = [model for model in models if not (repository / model).is_dir()]
    if missing:
        there = sorted(path.name for path in repository.glob("*/")) if repository.is_dir() else []
        raise ModelRepositoryError(
            f"the model repository {repository} has no {', '.join(missing)} (it has {', '.join(there) or 'nothing'}): "
            "name models that are there, or make them with `make model`"
        )


def _is_model_ready(port: int, model: str) -> bool:
    # Not urllib: it would send even a loopback request to the proxy that the user's environment names.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/v2/models/{model}/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
