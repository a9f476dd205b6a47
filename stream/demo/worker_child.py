"""The demo's worker: ``interestflow worker`` as a process of its own, on the embedded servers."""

import http
import http.client
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stream.embedded.ports import LOOPBACK
from stream.embedded.process import ChildProcess
from stream.errors import EmbeddedServerError
from stream.settings import PREFIX

#: Of the user's own settings these hold in the demo too; the others would lead it to other servers or data.
_KEPT: Final = tuple(
    f"{PREFIX}{section}" for section in ("ADS__", "ENGINE", "LOG_LEVEL", "SCORE__", "WINDOW__")
)
_START_SECONDS: Final = 90.0
#: A worker finishes what is in hand; 20 s is the longest it takes.
_STOP_SECONDS: Final = 25.0
_PROBE_SECONDS: Final = 2.0


def worker_settings(ours: Mapping[str, str], demo: Mapping[str, str]) -> dict[str, str | None]:
    """Changes to our environment for the worker; None removes a variable.

    Args:
        ours: Our environment.
        demo: The demo's settings, without prefix.
    """
    changes: dict[str, str | None] = {
        name: None for name in ours if name.startswith(PREFIX) and not name.startswith(_KEPT)
    }
    wanted = {f"{PREFIX}{name}": value for name, value in demo.items()}
    kept = {name for name in wanted if name in ours and name.startswith(_KEPT)}
    return {**changes, **{name: value for name, value in wanted.items() if name not in kept}}


class WorkerChild:
    """A worker that ends with us."""

    def __init__(self, settings: Mapping[str, str | None], health_port: int, log_path: Path) -> None:
        self.health_port = health_port
        self._process = ChildProcess(
            "the worker",
            [sys.executable, "-m", "stream.cli", "worker"],
            log_path=log_path,
            environment=settings,
            stop_grace_seconds=_STOP_SECONDS,
        )

    def start(self) -> None:
        """Start it and block until it is ready.

        Raises:
            EmbeddedServerError: It ended or was not ready in time.
        """
        self._process.start()
        self._process.wait_until_ready(self._is_ready, timeout_seconds=_START_SECONDS)

    def require_running(self) -> None:
        """Pass if it lives.

        Raises:
            EmbeddedServerError: It ended; the end of its log says why.
        """
        if not self._process.is_running:
            raise EmbeddedServerError(
                f"the worker ended while the demo ran; mend what the end of its log says ({self._process.log_path}):\n"
                f"{self._process.log_tail()}"
            )

    def stop(self) -> None:
        """Let it finish what is in hand and end it."""
        self._process.stop()

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.health_port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
