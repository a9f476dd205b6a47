"""Prometheus's files: its configuration and the alerts, by its own tools."""

import shutil
import subprocess
from collections import defaultdict
from typing import Any

import pytest
import yaml

from tests.conftest import unavailable
from tests.deploy.compose_file import ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
TESTS = ROOT / "tests" / "deploy" / "alerts_test.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        unavailable("no promtool on PATH: install Debian's prometheus")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_prometheus_accepts_its_configuration() -> None:
    done = promtool("check", "config", str(ROOT / "deploy" / "prometheus" / "prometheus.yml"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_each_alert_fires_and_stays_quiet() -> None:
    done = promtool("test", "rules", str(TESTS))

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_both_ways() -> None:
    tested = defaultdict(set)
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for check in test["alert_rule_test"]:
            tested[check["alertname"]].add(bool(check["exp_alerts"]))

    assert tested == {rule["alert"]: {True, False} for rule in RULES}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in RULES])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    page = ROOT / rule["annotations"]["runbook_url"]

    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert {"summary", "description"} <= set(rule["annotations"])
    assert page.parent == ROOT / "docs" / "runbooks"
    assert f"**Alert** {rule['alert']} · {rule['labels']['severity']}" in page.read_text()


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {f"docs/runbooks/{page.name}" for page in (ROOT / "docs" / "runbooks").glob("*.md")}

    assert pages == {rule["annotations"]["runbook_url"] for rule in RULES}
