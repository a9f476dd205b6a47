"""G12, G13 and G14: promises whose proof is a test file; it must run, and what it measured is in its properties."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from benchmarks.chaos.arena import Run
from benchmarks.chaos.verdict import Verdict
from tests.worker_process import REPOSITORY

_SHOWN_CHARACTERS: Final = 500


async def erasure(run: Run) -> Verdict:
    """G12: the short form is the proof alone; at length also all the rest that is known of erasure."""
    told = [
        "tests/integration/test_erasure.py",
        *(["-k", "g12"] if run.short else ["tests/unit/test_erasure.py"]),
    ]
    return await _proof(run, "G12", "an erased user is in no file of any store or topic in time", told)


async def upgrade(run: Run) -> Verdict:
    """G13: states as the bytes that an earlier release wrote."""
    promise = "state of an earlier release is read whole, or refused by name"
    return await _proof(run, "G13", promise, ["tests/unit/test_state_upgrade.py"])


async def alerts(run: Run) -> Verdict:
    """G14: by promtool; no events are in it."""
    return await _proof(run, "G14", "each alert fires and each stays quiet", ["tests/deploy/test_alerts.py"])


async def _proof(run: Run, gate: str, promise: str, tests: Sequence[str]) -> Verdict:
    report = run.directory / "proof.xml"
    # xunit1 is the family that has properties.
    options = ["-q", "--no-header", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
    options += [f"--randomly-seed={run.seed}", f"--junitxml={report}"]
    # A test that is skipped shows nothing.
    environment = {**os.environ, "TESTS_MUST_RUN": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", *options, *tests), cwd=REPOSITORY, env=environment
    )
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
    figures, problems = read_report(report)
    if code and not problems:
        problems = [f"pytest ended with {code}: see what it printed"]
    return Verdict(gate, promise, {**figures, "seed": run.seed}, problems)


def read_report(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Figures and problems of a JUnit file; whole numbers among the tests' properties are figures, added up."""
    if not path.exists():
        return {"lost": None, "counted_twice": None}, []
    suites = ET.parse(path).getroot()
    suite = suites.find("testsuite")
    if suite is None:
        return {"lost": None, "counted_twice": None}, [f"no test was run: {path} has no suite"]
    # Without a figure of the tests nothing came in and nothing of it was lost.
    figures: dict[str, Any] = {"events_in": 0, "lost": 0, "counted_twice": 0}
    figures |= {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    figures["seconds"] = round(float(suite.get("time", 0.0)))
    for told in suites.iter("property"):
        figures[told.get("name", "")] = figures.get(told.get("name", ""), 0) + int(told.get("value", 0))
    problems = [
        f"{case.get('name')}: {outcome.get('message', outcome.tag)[:_SHOWN_CHARACTERS]}"
        for case in suites.iter("testcase")
        for outcome in case
        if outcome.tag in ("failure", "error", "skipped")
    ]
    return figures, problems or [f"{figures['lost']} events were lost"] * bool(figures["lost"])
