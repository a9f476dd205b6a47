"""How gates are run: each ends in its time or is ended, and one that rests on a test file says what the tests said."""

import sys
from pathlib import Path

import pytest

from benchmarks.chaos.alone import play_alone, promise, run_within
from benchmarks.chaos.arena import Run
from benchmarks.chaos.gates import GATES
from benchmarks.chaos.proofs import read_report
from stream.clock import pause

_DEAF = """
import pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(started.pid))
started.wait()
"""


def test_every_promise_has_a_gate() -> None:
    assert list(GATES) == [f"G{number}" for number in range(1, 16)]
    assert all(gate.short_limit_seconds <= gate.limit_seconds for gate in GATES.values())
    assert all(promise(name).startswith(f"{name}: ") for name in GATES)


def test_what_ends_in_time_gives_its_exit_code() -> None:
    assert run_within([sys.executable, "-c", "raise SystemExit(3)"], 60.0) == 3


def test_what_hangs_is_ended_with_all_that_it_started_even_if_it_does_not_listen(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    command = [sys.executable, "-c", _DEAF, str(told)]
    limit_seconds = 1.0
    while not told.exists() or not told.read_text():  # a busy machine may need longer to start it
        assert run_within(command, limit_seconds, grace_seconds=0.1) is None
        limit_seconds *= 2

    while _runs(int(told.read_text())):
        pause(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_gate_that_does_not_end_in_its_time_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GATES, "G2", GATES["G2"]._replace(short_limit_seconds=0.0))

    verdict = play_alone("G2", Run(tmp_path, 7, short=True))

    assert verdict.problems == [
        "OverdueError: not done within 0 s: it was ended with all that it had started"
    ]


_REPORT = """<?xml version="1.0"?><testsuites><testsuite tests="3" failures="1" errors="0" skipped="1" time="2.6">
<testcase name="a"><properties><property name="events_in" value="3"/><property name="files" value="9"/></properties></testcase>
<testcase name="b"><failure message="assert 1 == 2">long</failure></testcase>
<testcase name="c"><skipped message="no java"/></testcase>
</testsuite></testsuites>"""


def test_what_tests_measured_are_figures_and_what_did_not_pass_are_problems(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(_REPORT)

    assert read_report(report) == (
        {
            "events_in": 3, "lost": 0, "counted_twice": 0, "tests": 3, "failures": 1, "errors": 0, "skipped": 1,
            "seconds": 3, "files": 9,
        },
        ["b: assert 1 == 2", "c: no java"],
    )  # fmt: skip


def test_without_a_report_nothing_is_known(tmp_path: Path) -> None:
    assert read_report(tmp_path / "none.xml") == ({"lost": None, "counted_twice": None}, [])
