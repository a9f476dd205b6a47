"""What a halt of Triton does to a running worker: the stream goes on, the users stay due, and then it catches up."""

import asyncio
import os
import signal
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.servers import MODELS, REPOSITORY, bundled_triton, empty_broker
from benchmarks.shop import ShopRecord
from benchmarks.topics import APP_IDS, fill, put
from stream.clock import SystemClock, pause
from stream.embedded.ports import LOOPBACK, free_ports
from stream.embedded.process import ChildProcess

#: Longer than the worker's deadline of a call, so that calls fail and users fall back.
HALT_SECONDS: Final = 12.0
_STEP_TIMEOUT_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.1

_clock = SystemClock()


class WorkerFigures(NamedTuple):
    """What a worker's ``/metrics`` says."""

    folded: int
    due: int
    scored_by_model: int
    scored_otherwise: int


def measure_outage(broker: str, records: Sequence[ShopRecord], before: int) -> dict[str, float]:
    """Halt Triton by SIGSTOP after the first ``before`` records, send the rest, and let it go on after a while.

    Raises:
        TimeoutError: A step did not end: the worker is held, or does not catch up.
    """
    with empty_broker(broker) as servers, bundled_triton(REPOSITORY, MODELS) as triton:
        asyncio.run(fill(servers, records[:before]))
        with tempfile.TemporaryDirectory() as directory:
            worker = _Worker(broker, servers, triton.grpc_url, Path(directory))
            try:
                worker.start()
                worker.wait(lambda now: now.folded == before and now.due == 0, "score all users")
                return _halt(
                    worker, triton.pid, lambda: asyncio.run(put(servers, records[before:])), len(records)
                )
            finally:
                os.kill(triton.pid, signal.SIGCONT)
                worker.stop()


def _halt(worker: "_Worker", triton: int, send_rest: Callable[[], None], total: int) -> dict[str, float]:
    before = worker.figures()
    os.kill(triton, signal.SIGSTOP)
    halted_at = _clock.monotonic_seconds()
    send_rest()
    worker.wait(lambda now: now.folded == total, "fold while Triton is halted")
    fold_seconds = _clock.monotonic_seconds() - halted_at
    pause(max(HALT_SECONDS - fold_seconds, 0.0))
    halted = worker.figures()
    os.kill(triton, signal.SIGCONT)
    returned_at = _clock.monotonic_seconds()
    worker.wait(lambda now: now.due == 0, "score the users that were left due")
    caught_up = worker.figures()
    return {
        "halted_seconds": round(returned_at - halted_at, 1),
        "folded_during": halted.folded - before.folded,
        "fold_seconds": round(fold_seconds, 2),
        "answered_without_model_during": halted.scored_otherwise - before.scored_otherwise,
        "due_at_return": halted.due,
        "due_after_return_seconds": round(_clock.monotonic_seconds() - returned_at, 1),
        "scored_by_model_after_return": caught_up.scored_by_model - halted.scored_by_model,
    }


class _Worker:
    """``interestflow worker`` as a user starts it."""

    def __init__(self, broker: str, servers: str, model_url: str, directory: Path) -> None:
        (self._port,) = free_ports(1)
        prefix = "INTERESTFLOW_"
        self._process = ChildProcess(
            "the worker",
            [sys.executable, "-m", "stream.cli", "worker"],
            log_path=directory / "worker.log",
            environment={
                f"{prefix}APP_ID": APP_IDS[0],
                f"{prefix}VIRTUAL_TIME": "true",
                f"{prefix}KAFKA__BOOTSTRAP_SERVERS": servers,
                f"{prefix}KAFKA__BROKER": "tansu" if broker == "tansu" else "kafka",
                f"{prefix}MODEL__REPOSITORY": str(REPOSITORY),
                f"{prefix}MODEL__GRPC_URL": model_url,
                f"{prefix}STORE__DIRECTORY": str(directory / "state"),
                f"{prefix}HEALTH__PORT": str(self._port),
            },
            stop_grace_seconds=20.0,
        )

    def start(self) -> None:
        """Start it and wait until its metrics can be read."""
        self._process.start()
        self._process.wait_until_ready(self._answers, timeout_seconds=_STEP_TIMEOUT_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def _answers(self) -> bool:
        try:
            self.figures()
        except OSError:
            return False
        return True

    def figures(self) -> WorkerFigures:
        """Its figures now."""
        # No proxy, whatever the environment names: this is loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{LOOPBACK}:{self._port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

        def total(name: str, label: str = "", values: Sequence[str] = ("",)) -> int:
            wanted = (
                s for s in samples if s.name == f"interestflow_{name}" and s.labels.get(label, "") in values
            )
            return int(sum(sample.value for sample in wanted))

        return WorkerFigures(
            folded=total("events_total", "outcome", ("accepted", "normalised")),
            due=total("due_users"),
            scored_by_model=total("users_scored_total", "source", ("model",)),
            scored_otherwise=total("users_scored_total", "source", ("cached", "profile", "none")),
        )

    def wait(self, done: Callable[[WorkerFigures], bool], what: str) -> None:
        """Block until the figures say so.

        Raises:
            TimeoutError: They did not in time.
        """
        began = _clock.monotonic_seconds()
        while not done(now := self.figures()):
            if _clock.monotonic_seconds() - began > _STEP_TIMEOUT_SECONDS:
                msg = f"the worker did not {what} within {_STEP_TIMEOUT_SECONDS:g} s: {now}; {self._process.log_tail()}"
                raise TimeoutError(msg)
            pause(_POLL_SECONDS)
