"""`interestflow replay` into a broker that the settings name."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from stream.ads.campaign import parse_campaign
from stream.embedded.broker import TansuBroker
from stream.embedded.ports import free_ports
from tests.worker_process import read_topic

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
DAY = (
    "--users",
    "20",
    "--start",
    "2017-10-30",
    "--until",
    "2017-10-31",
    "--history-days",
    "2",
    "--speed",
    "1e9",
)


def run(directory: Path, settings: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream.cli", *command],
        cwd=directory,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("INTERESTFLOW_")},
            "PYTHONPATH": str(ROOT),
            "INTERESTFLOW_VIRTUAL_TIME": "true",
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_replay_sends_campaigns_and_all_events_and_says_how_many(tmp_path: Path) -> None:
    with TansuBroker(log_path=tmp_path / "tansu.log") as broker:
        settings = {"INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}
        created = run(tmp_path, settings, "topics", "create")

        ended = run(tmp_path, settings, "replay", *DAY, "--summary", "figures.json")

        purchases = asyncio.run(read_topic(broker.bootstrap_servers, "behaviour.purchase", 4))
        campaigns = asyncio.run(read_topic(broker.bootstrap_servers, "ads.campaigns", 1))
    assert (created.returncode, ended.returncode) == (0, 0), created.stderr + ended.stderr
    figures = orjson.loads((tmp_path / "figures.json").read_bytes())
    assert figures["events"]["behaviour.purchase"] == len(purchases) > 0
    assert figures["history"] > 0
    assert figures["stopped"] is False
    assert len([parse_campaign(record.key, record.value) for record in campaigns]) == 27
    assert "ended: 2017-10-30" in ended.stdout


def test_a_broker_that_is_not_there_is_one_line_not_a_trace(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    settings = {"INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}

    ended = run(tmp_path, settings, "replay", *DAY)

    assert ended.returncode == 3
    assert f"interestflow: the campaigns could not be sent to 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr
