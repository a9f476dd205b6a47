"""The start script of the Triton image, run on the bundled server."""

import urllib.error
import urllib.request

import pytest

from stream.embedded.ports import LOOPBACK
from tests.deploy.compose_file import load_compose
from tests.deploy.conftest import ServedModels

pytestmark = pytest.mark.embedded


def test_the_health_check_passes_once_both_models_are_served(served_models: ServedModels) -> None:
    *_, program = load_compose()["services"]["triton"]["healthcheck"]["test"]

    exec(program.replace("127.0.0.1:8000", f"{LOOPBACK}:{served_models.ports.http}"), {})


def test_without_a_key_nobody_lists_or_changes_the_models(served_models: ServedModels) -> None:
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{served_models.ports.http}/v2/repository/index", data=b"{}", method="POST"
    )

    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)


def test_latencies_are_told_as_summaries(served_models: ServedModels) -> None:
    with urllib.request.urlopen(served_models.metrics_url, timeout=10) as answer:
        told = answer.read().decode()
        # Prometheus 3 refuses a scrape whose format it can't tell.
        format_told = answer.headers["Content-Type"]

    assert "# TYPE nv_inference_queue_summary_us summary" in told
    assert format_told.startswith("text/plain")
