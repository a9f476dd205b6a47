"""Each gate in a process of its own, so that one that hangs is ended with all it started, and has failed."""

import argparse
import asyncio
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Run
from benchmarks.chaos.gates import GATES
from benchmarks.chaos.verdict import Verdict, broken
from benchmarks.machine import descendants

#: To stop brokers and workers in order; what still runs then is killed.
_GRACE_SECONDS: Final = 60.0
_VERDICT: Final = "verdict.json"


class OverdueError(Exception):
    """A gate did not end in its time."""


def play_alone(name: str, run: Run) -> Verdict:
    """Run a gate in a child; one that breaks off or does not end in its time is a failed one."""
    limit = GATES[name].limit(run)
    command = [sys.executable, "-m", "benchmarks.chaos.alone", name, str(run.directory), str(run.seed)]
    code = run_within([*command, *(["--short"] if run.short else [])], limit)
    if code is None:
        overdue = OverdueError(f"not done within {limit:g} s: it was ended with all that it had started")
        return broken(name, promise(name), run.seed, overdue)
    written = run.directory / _VERDICT
    if not written.exists():
        died = ChildProcessError(f"its process ended with {code} and without a verdict: see what it printed")
        return broken(name, promise(name), run.seed, died)
    return Verdict(*json.loads(written.read_text(encoding="utf-8")))


def run_within(
    command: Sequence[str], limit_seconds: float, *, grace_seconds: float = _GRACE_SECONDS
) -> int | None:
    """The exit code of a command, or None if it did not end in time: then it and all it started is ended."""
    child = subprocess.Popen(command)
    try:
        return child.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(child, grace_seconds)


def _end(child: "subprocess.Popen[bytes]", grace_seconds: float) -> None:
    """In order if it can be, and by force what is left after a grace."""
    if child.poll() is not None:
        return
    family = set(descendants(child.pid))
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace_seconds)
    if child.poll() is None:
        family.update(descendants(child.pid))
        child.kill()
        child.wait()
    for process in family:
        process.kill()


def promise(name: str) -> str:
    """The first line of what a gate says of itself."""
    return (GATES[name].play.__doc__ or name).strip().splitlines()[0]


def play(name: str, run: Run) -> Verdict:
    """Run a gate in this process; one that breaks off is a failed one."""

    async def gate() -> Verdict:
        return await GATES[name].play(run)

    try:
        return asyncio.run(gate())
    except Exception as error:  # noqa: BLE001 - whatever breaks a gate off, the others are still worth running
        return broken(name, promise(name), run.seed, error)


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(prog="benchmarks.chaos.alone", description=__doc__)
    parser.add_argument("gate", choices=GATES)
    parser.add_argument("directory", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    # Clients of a broker that comes and goes have a lot to say.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # So that a stopped run takes its brokers and workers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    verdict = play(options.gate, Run(options.directory, options.seed, options.short))
    (options.directory / _VERDICT).write_text(json.dumps(verdict), encoding="utf-8")


if __name__ == "__main__":
    main()
