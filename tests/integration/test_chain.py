"""The whole way of an event: produced, folded, scored by the shipped model on a real Triton, decided, published."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from stream.embedded.triton_server import BundledTriton
from stream.events import CAMPAIGNS_TOPIC, CONTROL_TOPIC, DEAD_LETTER_TOPIC, DECISIONS_TOPIC, UPDATES_TOPIC
from stream.interest_update import InterestUpdate
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, START_MS, Fed, events, expected_states, produce
from tests.brokers import Broker, recreate_topics
from tests.worker_process import REPOSITORY, WorkerProcess, latest_by_key, loads, read_topic, total

_MODELS = REPOSITORY / "triton_models"
_CATEGORIES = ("cheese", "yogurt", "frozen pizza", "bag snacks", "soft drinks")
_DAY_MS = 86_400_000


@pytest.fixture
def triton(stub_python: Path, tmp_path: Path) -> Iterator[BundledTriton]:
    with BundledTriton(_MODELS, stub_python, models=["behaviour_encoder", "interest_head"]) as server:
        yield server


def _worker(directory: Path, broker: Broker, triton: BundledTriton) -> WorkerProcess:
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID="chain",
        KAFKA__BROKER=broker.kind,
        WINDOW__LATENESS_GRACE_HOURS="720",
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(_MODELS),
        MODEL__GRPC_URL=triton.grpc_url,
        SCORE__MIN_INTERVAL_SECONDS="0.2",
        SCORE__RETRY_SECONDS="0.5",
    )


def _feed(count: int, users: int) -> list[Fed]:
    """The usual feed, in categories that the shipped model knows."""
    fed = events(count, users=users)
    for number, category in enumerate(_CATEGORIES):
        old, new = f'"category {number}"'.encode(), f'"{category}"'.encode()
        fed = [item._replace(value=(item.value or b"").replace(old, new)) for item in fed]
    return fed


async def _publish_campaigns(bootstrap_servers: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    try:
        for number, category in enumerate(_CATEGORIES[:3]):
            campaign = {
                "cid": f"campaign-{number}",
                "name": category,
                "seat": "shop",
                "starts_at_ms": START_MS - _DAY_MS,
                "ends_at_ms": START_MS + 90 * _DAY_MS,
                "status": "paused" if number == 2 else "active",
                "bid_cpm": 1.0 + number,
                "creatives": [{"crid": f"coupon-{number}", "title": category, "categories": [category]}],
            }
            await producer.send_and_wait(
                CAMPAIGNS_TOPIC, orjson.dumps(campaign), f"campaign-{number}".encode()
            )
    finally:
        await producer.stop()


def _updates(broker: Broker) -> dict[bytes, dict[str, Any]]:
    records = asyncio.run(read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
    return {key: loads(value) for key, value in latest_by_key(records).items()}


def _nobody_due(samples: Any, folded: int) -> bool:
    return bool(total(samples, "events") >= folded and samples["interestflow_due_users"] == 0)


def test_events_become_updates_and_decisions_over_a_restart(
    broker: Broker, triton: BundledTriton, tmp_path: Path
) -> None:
    asyncio.run(recreate_topics(broker, "chain"))
    asyncio.run(_publish_campaigns(broker.bootstrap_servers))
    fed = _feed(1200, users=60)
    bad = [fed[0]._replace(value=b"[]"), fed[1]._replace(value=b"")]

    with _worker(tmp_path, broker, triton) as worker:
        asyncio.run(produce(broker.bootstrap_servers, [*fed[:600], *bad]))
        worker.until(lambda samples: _nobody_due(samples, 602))
        first = _updates(broker)
        assert worker.end(signal.SIGTERM) == 0
        asyncio.run(produce(broker.bootstrap_servers, fed[600:]))
        worker.start()
        worker.until(lambda samples: _nobody_due(samples, 600))
        last = _updates(broker)
        gone = fed[0].key
        asyncio.run(produce(broker.bootstrap_servers, [fed[0]._replace(topic=CONTROL_TOPIC, value=None)]))
        worker.until(lambda samples: _nobody_due(samples, 601))
        worker.end(signal.SIGTERM)

    assert _updates(broker).keys() == last.keys() - {gone}
    states = expected_states(fed, WindowPolicy(lateness_grace_ms=30 * _DAY_MS))
    assert first.keys() == last.keys() == states.keys()
    for key, document in last.items():
        update = InterestUpdate.model_validate(document)
        assert update.revision <= states[key].revision
        assert update.source == "model"
        assert all(0.0 <= interest.score <= 1.0 for interest in update.interests)
        assert update.moved_by
    letters = asyncio.run(read_topic(broker.bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS))
    assert {dict(letter.headers)["interestflow.reason"] for letter in letters} == {b"root", b"empty"}
    decisions = asyncio.run(read_topic(broker.bootstrap_servers, DECISIONS_TOPIC, PARTITIONS))
    _assert_explained([loads(decision.value) for decision in decisions])


def _assert_explained(decisions: list[dict[str, Any]]) -> None:
    assert decisions
    assert any(decision["bid"] for decision in decisions)
    for decision in decisions:
        reasons = {candidate["cid"]: candidate["reason"] for candidate in decision["candidates"]}
        assert reasons.keys() == {"campaign-0", "campaign-1", "campaign-2"}
        assert reasons["campaign-2"] == "paused"
        won = [candidate for candidate in decision["candidates"] if candidate["outcome"] == "won"]
        assert [candidate["cid"] for candidate in won] == (
            [decision["bid"]["cid"]] if decision["bid"] else []
        )


def test_without_triton_the_stream_goes_on_and_catches_up_when_it_returns(
    broker: Broker, triton: BundledTriton, tmp_path: Path
) -> None:
    asyncio.run(recreate_topics(broker, "chain"))
    fed = _feed(400, users=40)

    triton.kill()
    with _worker(tmp_path, broker, triton) as worker:
        asyncio.run(produce(broker.bootstrap_servers, fed))
        worker.until(
            lambda samples: total(samples, "events") >= 400 and total(samples, "interest_updates") >= 40
        )
        without = _updates(broker)
        problems = worker.readiness()
        triton.start()
        # Ready again with the next probe.
        worker.until(lambda samples: _nobody_due(samples, 400) and samples["interestflow_ready"] == 1)
        back = _updates(broker)
        code = worker.end(signal.SIGTERM)

    assert "profile" in {update["source"] for update in without.values()} <= {"profile", "none"}
    assert any("Triton" in problem for problem in problems)
    assert {update["source"] for update in back.values()} == {"model"}
    assert code == 0
