"""A real Prometheus with our configuration, for tests."""

import json
import math
import shutil
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import yaml

from stream.embedded.ports import LOOPBACK, free_ports
from stream.embedded.process import ChildProcess
from tests.deploy.compose_file import ROOT

CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"


class PrometheusServer:
    """Scrapes the given address of each of our jobs every second; a context manager."""

    def __init__(self, directory: Path, targets: dict[str, str]) -> None:
        program = shutil.which("prometheus")
        assert program is not None
        config = yaml.safe_load(CONFIG.read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
        config["scrape_configs"] = [
            {"job_name": job["job_name"], "static_configs": [{"targets": [targets[job["job_name"]]]}]}
            for job in config["scrape_configs"]
        ]
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        (self._port,) = free_ports(1)
        self._process = ChildProcess(
            "Prometheus",
            [
                program,
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={LOOPBACK}:{self._port}",
                "--log.level=warn",
            ],
            log_path=directory / "prometheus.log",
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_until_ready(self._is_ready, timeout_seconds=30.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def query(self, expr: str) -> list[float]:
        """Values of a query, now; none that is not a number."""
        answer = self._get("query", query=expr)
        values = [float(series["value"][1]) for series in answer["result"]]
        return [value for value in values if not math.isnan(value)]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port}/-/ready", timeout=2):
                return True
        except OSError:
            return False

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"http://{LOOPBACK}:{self._port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"]
