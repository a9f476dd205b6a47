"""Runs contestants, each in a process of its own, and reads what they measured."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks.contestants.job import READY, Job, result_in
from benchmarks.machine import others_cores, read_cpu

_ROOT = Path(__file__).parents[1]
#: The slowest contestant needs a tenth of it.
_TIMEOUT_SECONDS = 180.0
_TOLD_CHARS = 600


class Contestant(NamedTuple):
    """Who takes part."""

    name: str
    #: In ``benchmarks.contestants``.
    module: str
    python: Path
    events: int


class Run(NamedTuple):
    """What one run gave."""

    events_per_second: float
    cpu_us_per_event: float
    #: Cores that others kept busy meanwhile.
    others_cores: float
    result: dict[str, float]


class ContestantFailedError(Exception):
    """A contestant ended without a result; the message has the end of what it said."""


def run_contestant(contestant: Contestant, job: Job, when_ready: Callable[[], None] | None = None) -> Run:
    """Let it do the job, and give its figures.

    Args:
        contestant: Who.
        job: What; its number of events is replaced by the contestant's.
        when_ready: Called when it says that it waits for the events that count.

    Raises:
        ContestantFailedError: It failed, or took too long.
    """
    told = job._replace(events=contestant.events)._asdict()
    command = [str(contestant.python), "-m", f"benchmarks.contestants.{contestant.module}", json.dumps(told)]
    before = read_cpu()
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            result = _listen(process, when_ready)
        if result is None:
            errors.seek(0)
            raise ContestantFailedError(
                f"{contestant.name} gave no result (exit code {process.returncode}): {errors.read()[-_TOLD_CHARS:]}"
            )
    others = others_cores(before, read_cpu())
    events = result["events"]
    return Run(events / result["seconds"], result["cpu_seconds"] / events * 1e6, others, result)


def _listen(
    process: "subprocess.Popen[str]", when_ready: Callable[[], None] | None
) -> dict[str, float] | None:
    lines: IO[str] | None = process.stdout
    assert lines is not None
    watchdog = threading.Timer(_TIMEOUT_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in lines:
            if line.rstrip() == READY and when_ready is not None:
                when_ready()
            if (result := result_in(line)) is not None:
                return result
        return None
    finally:
        watchdog.cancel()
        process.kill()
