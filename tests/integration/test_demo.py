"""The demo as a person starts it: real broker, Triton, worker and data, in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.clock import pause
from stream.embedded.ports import free_ports

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
#: Few users and days: the way is the same.
SMALL = ("--users", "15", "--history-days", "7", "--speed", "20000")


class Demo:
    """A demo in its own process and directory."""

    def __init__(self, directory: Path, stub_python: Path, *arguments: str, **environment: str) -> None:
        self.summary_path = directory / "figures" / "out.json"
        self._output = (directory / "output").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "demo", *arguments, "--summary", str(self.summary_path)],
            cwd=directory,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("INTERESTFLOW_")},
                "PYTHONPATH": str(ROOT),
                "INTERESTFLOW_MODEL__REPOSITORY": str(ROOT / "triton_models"),
                "INTERESTFLOW_TRITON_PYTHON": str(stub_python),
                "INTERESTFLOW_ENGINE": "fp32",
                **environment,
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def output(self) -> str:
        """All it printed so far."""
        self._output.seek(0)
        return self._output.read().decode()

    def summary(self) -> dict[str, Any]:
        """Its figures."""
        figures: dict[str, Any] = orjson.loads(self.summary_path.read_bytes())
        return figures

    def until(self, condition: Callable[[str], bool]) -> None:
        """Wait for something in its output."""
        for _ in range(1200):
            if condition(self.output()):
                return
            assert self.process.poll() is None, self.output()
            pause(0.1)
        raise AssertionError(f"never came: {self.output()}")

    def children(self) -> dict[int, str]:
        """Command lines of its servers by pid."""
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in map(int, task.read_text().split()):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return found

    def end(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout=120)

    def close(self) -> None:
        """Let nothing run on after a failed test; its servers end with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


@pytest.fixture
def start(tmp_path: Path, stub_python: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start_demo(*arguments: str, **environment: str) -> Demo:
        started.append(Demo(tmp_path, stub_python, *arguments, **environment))
        return started[-1]

    yield start_demo
    for demo in started:
        demo.close()


def still_there(pids: dict[int, str]) -> list[str]:
    return [command for pid, command in pids.items() if Path("/proc", str(pid)).exists()]


def test_the_demo_turns_real_behaviour_into_updates_and_decisions_and_ends_by_itself(
    start: Callable[..., Demo],
) -> None:
    demo = start("--seconds", "4", *SMALL)

    exit_code = demo.end()

    assert exit_code == 0, demo.output()
    figures = demo.summary()
    assert figures["events"].keys() >= {"behaviour.browse", "behaviour.click", "behaviour.purchase"}
    assert figures["events_total"] == sum(figures["events"].values()) == sum(figures["outcomes"].values())
    assert figures["updates"] > 0
    assert figures["updates_by_source"].keys() == {"model"}
    assert figures["decisions"] > 0
    assert figures["decisions_filled"] > 0
    assert figures["dead_letters"] == 0
    assert figures["model_calls"] > 0
    assert 0 < figures["cache_hit_ratio"] < 1
    assert 0 < figures["freshness_p50_ms"] <= figures["freshness_p99_ms"]
    assert figures["started_seconds"] < figures["first_update_seconds"] < figures["total_seconds"]
    assert (figures["caught_up"], figures["interrupted"]) == (True, False)
    assert "user " in demo.output()


def test_a_replay_that_is_at_its_end_ends_the_demo_with_everything_folded(start: Callable[..., Demo]) -> None:
    demo = start("--until", "2017-10-31", "--speed", "50000", *SMALL[:4])

    exit_code = demo.end()

    assert exit_code == 0, demo.output()
    figures = demo.summary()
    assert figures["virtual_until"].startswith("2017-10-30")
    assert (figures["caught_up"], figures["interrupted"]) == (True, False)


def test_ctrl_c_closes_every_server_and_still_tells_the_sum(start: Callable[..., Demo]) -> None:
    demo = start(*SMALL)
    demo.until(lambda output: "freshness p50" in output)
    children = demo.children()

    demo.process.send_signal(signal.SIGINT)
    exit_code = demo.end()

    assert exit_code == 0, demo.output()
    assert len(children) == 3
    assert still_there(children) == []
    assert demo.summary()["interrupted"] is True
    assert "on request, before its time" in demo.output()


def test_a_worker_that_dies_ends_the_demo_with_its_reason_and_without_its_servers(
    start: Callable[..., Demo],
) -> None:
    demo = start(*SMALL)
    demo.until(lambda output: "history" in output)
    children = demo.children()
    worker = next(pid for pid, command in children.items() if "stream.cli worker" in command)

    os.kill(worker, signal.SIGKILL)
    exit_code = demo.end()

    assert exit_code == 3
    assert (
        "interestflow: the worker ended while the demo ran; mend what the end of its log says"
        in demo.output()
    )
    assert still_there(children) == []
    assert not demo.summary_path.exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"INTERESTFLOW_MODEL__REPOSITORY": "nowhere"}, "or make one with `make model`"),
        ({"INTERESTFLOW_TRITON_PYTHON": "nowhere/python"}, "make that environment first (`make env` does)"),
    ],
)
def test_a_missing_part_is_named_with_its_cure_before_anything_starts(
    start: Callable[..., Demo], environment: dict[str, str], message: str
) -> None:
    demo = start("--seconds", "1", *SMALL, **environment)

    exit_code = demo.end()

    assert exit_code == 3
    assert message in demo.output()
    assert "ready after" not in demo.output()
    assert "Traceback" not in demo.output()


def test_a_taken_health_port_is_named_with_its_cure(start: Callable[..., Demo]) -> None:
    port = free_ports(1)[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        demo = start("--seconds", "1", "--health-port", str(port), *SMALL)

        exit_code = demo.end()

    assert exit_code == 3
    assert f"port {port} of 127.0.0.1 is taken" in demo.output()
    assert "leave the port out to get a free one" in demo.output()
