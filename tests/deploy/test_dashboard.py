"""The dashboard as a file: generated, and in keeping with its own rules. A Grafana to show it to can't be had."""

import json
import re
import shutil
import subprocess
import urllib.request
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import reference
from deploy.grafana.dashboard import OUTPUT, build
from tests.conftest import unavailable
from tests.deploy.compose_file import ROOT
from tests.deploy.conftest import ServedModels
from tests.deploy.promql import filled_in

BOARD: dict[str, Any] = json.loads(OUTPUT.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
NAMED = [pytest.param(panel, id=panel["title"]) for panel in PANELS]
EXPRS = [target["expr"] for _, target in TARGETS]
ANNOTATIONS = [annotation["expr"] for annotation in BOARD["annotations"]["list"]]
#: Ids that we use of Grafana's units (@grafana/data 11.6, valueFormats/categories).
UNITS = {
    *("none", "short", "percentunit", "s", "dateTimeAsIso", "Bps"),
    *("cps", "ops", "reqps", "mps", "recps", "rowsps"),
}
#: Read by queries and told by Triton as soon as it serves a model.
TRITON_SERIES = {
    "nv_inference_compute_infer_duration_us",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_pending_request_count",
    "nv_inference_queue_duration_us",
    "nv_inference_request_failure",
    "nv_inference_request_success",
    "nv_inference_request_summary_us",
}


def test_the_committed_dashboard_is_the_generated_one() -> None:
    assert OUTPUT.read_text() == build(), "run: python -m deploy.grafana.dashboard"


def test_it_has_a_uid_of_its_own() -> None:
    uids = [json.loads(path.read_text())["uid"] for path in OUTPUT.parent.glob("*.json")]

    assert BOARD["uid"] == "interestflow"
    assert len(uids) == len(set(uids))


def test_the_data_source_is_chosen_by_a_variable() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    used = [*PANELS, *(target for _, target in TARGETS), *BOARD["annotations"]["list"]]

    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert all(user["datasource"] == chosen for user in used)


def test_job_instance_topic_and_model_can_be_chosen_and_all_of_them_are_at_first() -> None:
    variables = [variable for variable in BOARD["templating"]["list"] if variable["type"] == "query"]

    assert [variable["name"] for variable in variables] == ["job", "instance", "topic", "model"]
    for variable in variables:
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["current"]["value"] == ["$__all"]


@pytest.mark.parametrize("panel", NAMED)
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"].strip()
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]


def test_titles_and_ids_are_unique() -> None:
    titles = [panel["title"] for panel in PANELS]
    ids = [panel["id"] for panel in BOARD["panels"]]

    assert len(titles) == len(set(titles))
    assert len(ids) == len(set(ids))


def test_no_panel_lies_over_another_or_beyond_the_grid() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]

    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert [pair for pair in combinations(places, 2) if _overlap(*pair)] == []


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart_across = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    apart_down = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (apart_across or apart_down)


@pytest.mark.parametrize("expr", [*EXPRS, *ANNOTATIONS])
def test_every_series_is_limited_to_the_chosen_job_and_instance(expr: str) -> None:
    selectors = re.findall(r"\{([^}]*)\}", expr)

    assert len(selectors) == len(re.findall(r"\b(?:interestflow|nv)_\w+", expr))
    assert all(selector.startswith('job=~"$job", instance=~"$instance"') for selector in selectors)


@pytest.mark.parametrize("expr", EXPRS)
def test_every_window_is_the_rate_interval_and_every_counter_has_one(expr: str) -> None:
    windows = re.findall(r"\[([^\]]*)\]", expr)
    counters = re.findall(r"\w+_(?:total|bucket|sum|count)\{", expr)

    assert set(windows) <= {"$__rate_interval"}
    # Triton's own names don't say what is a counter.
    assert len(windows) >= len([counter for counter in counters if counter.startswith("interestflow_")])


def test_every_query_is_valid_promql(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        unavailable("no promtool on PATH: install Debian's prometheus")
    rules = [
        {"record": f"query:{number}", "expr": filled_in(expr)}
        for number, expr in enumerate([*EXPRS, *ANNOTATIONS])
    ]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", str(tmp_path / "queries.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_every_series_in_a_query_or_an_alert_is_told_by_the_worker_or_by_triton() -> None:
    told = {series for metric in reference.declared() for series in metric.series}
    read = {name for expr in [*EXPRS, *ANNOTATIONS] for name in reference.names_in(expr)}
    alerted = {name for expr in reference.alert_exprs().values() for name in reference.names_in(expr)}

    assert {name for name in read | alerted if name.startswith("interestflow_")} - told == set()
    assert {name for name in read | alerted if name.startswith("nv_")} == TRITON_SERIES


def test_every_metric_of_the_worker_is_on_the_dashboard_or_in_an_alert() -> None:
    assert [metric.name for metric in reference.declared() if not reference.shown(metric)] == []


def test_the_reference_page_has_the_table_of_the_metrics_as_they_are() -> None:
    page = reference.PAGE.read_text()

    assert page == reference.with_table(page), "run: python -m deploy.grafana.reference"


@pytest.mark.embedded
def test_a_real_triton_tells_what_the_dashboard_reads(served_models: ServedModels) -> None:
    with urllib.request.urlopen(served_models.metrics_url, timeout=10) as answer:
        declared = re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE)

    assert set(declared) >= TRITON_SERIES


def test_grafana_is_given_the_data_source_and_the_dashboard_where_compose_mounts_them() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "interestflow.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())

    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert (
        f"./deploy/grafana/dashboards:{provider['options']['path']}:ro"
        in compose["services"]["grafana"]["volumes"]
    )
