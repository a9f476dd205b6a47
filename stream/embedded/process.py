"""A child server that logs to a file, says why it failed, and ends with us.

It runs in its own session, so a Ctrl-C in the terminal reaches only us and we close it in order. It ends
when we exit (atexit), and on Linux also when we are killed: the kernel sends it SIGTERM as its parent dies.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from stream.clock import SystemClock, pause
from stream.errors import EmbeddedServerError

_POLL_SECONDS = 0.02

# prctl(PR_SET_PDEATHSIG) must be called in the child. Popen's preexec_fn could, but it runs Python between
# fork and exec of a process with threads (gRPC, Kafka clients), which may deadlock; so a small interpreter
# calls it and then becomes the server by exec, keeping its pid. The server's environment is set only at that
# exec: an LD_LIBRARY_PATH meant for the server must not choose the libpython of this interpreter.
_LAUNCHER = """
import ctypes, json, os, signal, sys
parent, changes, command = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != parent:
    sys.exit("the parent ended before the server started")
for name, value in changes.items():
    os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
os.execvp(command[0], command)
"""


class ChildProcess:
    """One child server; may be started again after it stopped.

    Args:
        name: how messages call it.
        command: program and arguments.
        log_path: its stdout and stderr are appended there; parent directories are made.
        environment: changes to our environment for it; None removes a variable.
        stop_grace_seconds: how long `stop` waits after SIGTERM before SIGKILL.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str | None] | None = None,
        stop_grace_seconds: float = 5.0,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._environment = dict(environment or {})
        self._stop_grace_seconds = stop_grace_seconds
        self._clock = SystemClock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Process id of the running server.

        Raises:
            EmbeddedServerError: it is not running.
        """
        if self._process is None:
            raise EmbeddedServerError(f"{self.name} is not running, so it has no pid: call start() first")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not exited."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; returns before it is ready (see `wait_until_ready`).

        The kernel ties the end of a parent to the *thread* that started the child, so only a start from the
        main thread is tied to a kill of this process; a start from another thread ends with atexit only.

        Raises:
            EmbeddedServerError: it runs already, or the program can't be executed.
        """
        if self.is_running:
            raise EmbeddedServerError(
                f"{self.name} runs already with pid {self.pid}: stop() it before start()"
            )
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._process = self._spawn(log.fileno())
            except OSError as error:
                raise EmbeddedServerError(
                    f"{self.name} can't be executed: {self._command[0]}: {error.strerror}; install it again"
                ) from error
        atexit.register(self.kill)

    def _spawn(self, log_fd: int) -> subprocess.Popen[bytes]:
        command, environment = self._command, _merged(self._environment)
        if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
            changes = json.dumps(self._environment)
            # -I -S: neither the user's site nor PYTHON* variables have a say in it, and it starts in ~15 ms.
            launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), changes]
            command, environment = launcher + command, dict(os.environ)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def wait_until_ready(self, ready: Callable[[], bool], *, timeout_seconds: float) -> float:
        """Seconds that `ready` took to become true; polls it and blocks the thread. A failed child is stopped.

        Raises:
            EmbeddedServerError: it exited, or was not ready in time; the end of its log is in the message.
        """
        began = self._clock.monotonic_seconds()
        while self.is_running:
            if ready():
                return self._clock.monotonic_seconds() - began
            if self._clock.monotonic_seconds() - began > timeout_seconds:
                self.stop()
                raise EmbeddedServerError(
                    f"{self.name} was not ready within {timeout_seconds:g} s and was stopped: on a slow or busy "
                    f"machine give it a longer start timeout; its log {self.log_path} ends with:\n{self.log_tail()}"
                )
            pause(_POLL_SECONDS)
        code = self._process.returncode if self._process else None
        self._forget()
        raise EmbeddedServerError(
            f"{self.name} exited with code {code} while it started: mend what the end of its log says "
            f"({self.log_path}):\n{self.log_tail()}"
        )

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it logged since it was started, without box-drawn tables."""
        if not self.log_path.exists():
            return "(no log)"
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        told = [line for line in text.splitlines() if line.strip() and not line.startswith(("|", "+-"))]
        return "\n".join(told[-lines:]) or "(empty log)"

    def stop(self) -> None:
        """End it: SIGTERM, after the grace SIGKILL; returns when it is gone. Does nothing if it isn't running."""
        if self._process is None:
            return
        if self.is_running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._stop_grace_seconds)
        self.kill()

    def kill(self) -> None:
        """End it and its own children at once by SIGKILL, as a crash would; returns when it is gone."""
        if self._process is None:
            return
        if self.is_running:
            # Not reaped yet, so its pid is still the id of the session's group and of nothing else.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        atexit.unregister(self.kill)
        self._process = None


def _merged(changes: Mapping[str, str | None]) -> dict[str, str]:
    merged = {name: value for name, value in os.environ.items() if name not in changes}
    return merged | {name: value for name, value in changes.items() if value is not None}
