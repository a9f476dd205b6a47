"""Every query of the dashboard, answered by a real Prometheus that scrapes a real worker and a real Triton."""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from deploy.grafana.dashboard import OUTPUT
from deploy.grafana.rows import ROWS
from stream.clock import SystemClock, pause
from stream.embedded.broker import TansuBroker
from stream.embedded.ports import LOOPBACK
from stream.events import CAMPAIGNS_TOPIC
from stream.received import SENT_HEADER
from tests.behaviour_feed import START_MS, Fed, events
from tests.brokers import Broker, recreate_topics
from tests.conftest import unavailable
from tests.deploy.conftest import ServedModels
from tests.deploy.prometheus_server import PrometheusServer
from tests.deploy.promql import filled_in
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.embedded

QUERIES = [query for row in ROWS for panel in row.panels for query in panel.queries]
#: A second between two rounds: one scrape.
ROUNDS = 40
ROUND_EVENTS = 60


@pytest.fixture
def worker(tansu: TansuBroker, served_models: ServedModels, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker with a broker, a model and a campaign."""
    asyncio.run(recreate_topics(Broker("tansu", tansu.bootstrap_servers), "dashboard"))
    asyncio.run(publish_campaign(tansu.bootstrap_servers))
    with WorkerProcess(
        tmp_path,
        tansu.bootstrap_servers,
        APP_ID="dashboard",
        KAFKA__BROKER="tansu",
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(served_models.repository),
        MODEL__GRPC_URL=f"{LOOPBACK}:{served_models.ports.grpc}",
        SCORE__MIN_INTERVAL_SECONDS="0.2",
    ) as process:
        process.until(lambda samples: samples["interestflow_ready"] == 1)
        yield process


async def publish_campaign(bootstrap_servers: str) -> None:
    campaign = {
        "cid": "dairy",
        "name": "Dairy",
        "seat": "shop",
        "starts_at_ms": START_MS,
        "ends_at_ms": START_MS + 90 * 86_400_000,
        "status": "active",
        "bid_cpm": 2.0,
        "creatives": [{"crid": "milk", "title": "Milk", "categories": ["Fluid Milk"]}],
    }
    paused = campaign | {"cid": "bread", "status": "paused"}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    for one in (campaign, paused):
        await producer.send_and_wait(CAMPAIGNS_TOPIC, orjson.dumps(one), str(one["cid"]).encode())
    await producer.stop()


async def produce(bootstrap_servers: str, fed: Sequence[Fed]) -> None:
    """Sent now, and one of them is no JSON."""
    sent_at = [(SENT_HEADER, str(SystemClock().wall_ms()).encode())]
    broken = fed[0]._replace(value=b"{")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    for item in [*fed, broken]:
        await producer.send(item.topic, item.value, item.key, item.partition, item.timestamp_ms, sent_at)
    await producer.stop()


def test_every_query_has_an_answer(
    tansu: TansuBroker, served_models: ServedModels, worker: WorkerProcess, tmp_path: Path
) -> None:
    if shutil.which("prometheus") is None:
        unavailable("no prometheus on PATH: install Debian's prometheus")
    targets = {
        "interestflow-worker": f"{LOOPBACK}:{worker.port}",
        "triton": f"{LOOPBACK}:{served_models.ports.metrics}",
    }
    # So many users that each round brings new ones: their first update is always news.
    feed = events(ROUNDS * ROUND_EVENTS, users=5000)
    missing = {query.expr for query in QUERIES if not query.only_in_trouble}

    with PrometheusServer(tmp_path, targets) as prometheus:
        for number in range(ROUNDS):
            asyncio.run(produce(tansu.bootstrap_servers, feed[number * ROUND_EVENTS :][:ROUND_EVENTS]))
            pause(1.0)
            missing -= {expr for expr in missing if prometheus.query(filled_in(expr, window="10s"))}
            if not missing:
                break
        rules = prometheus.rules()
        # In trouble or not, none may be refused.
        for query in QUERIES:
            prometheus.query(filled_in(query.expr, window="10s"))

    assert missing == set()
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    assert all(query.expr in OUTPUT.read_text().replace('\\"', '"') for query in QUERIES)
