"""Consent through a real worker: what is published of whom, and that a withdrawal takes it back (rows 62, 63, 65)."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from stream.embedded.triton_server import BundledTriton
from stream.events import CAMPAIGNS_TOPIC, CONTROL_TOPIC, DECISIONS_TOPIC, PURCHASE_TOPIC, UPDATES_TOPIC
from stream.partitioner import partitioner
from stream.state import decode_state
from tests.behaviour_feed import PARTITIONS, START_MS, Fed, produce
from tests.brokers import Broker, recreate_topics
from tests.worker_process import REPOSITORY, WorkerProcess, latest_by_key, loads, read_topic, total

_MODELS: Final = REPOSITORY / "triton_models"
_APP: Final = "consent"
_HOME: Final = partitioner("murmur2", PARTITIONS)
#: What each says first.
_SAYS: Final[dict[str, dict[str, Any]]] = {
    "all": {"purposes": [2, 3, 4, 5, 6]},
    "no-ads": {"purposes": [3, 5, 6]},
    "no-profile": {"purposes": [2]},
    "garbage": {"purposes": "CPXxRfAPXxRf"},
    "expired": {"purposes": [2, 3, 4], "expires_at_ms": START_MS - 1},
    "minor": {"purposes": [2, 3, 4], "minor": True},
    "withdraws": {"purposes": [2, 3, 4]},
}
_SILENT: Final = "says-nothing"


@pytest.fixture
def triton(stub_python: Path) -> Iterator[BundledTriton]:
    with BundledTriton(_MODELS, stub_python, models=["behaviour_encoder", "interest_head"]) as server:
        yield server


def _says(user: str, later_ms: int = 0, **fields: Any) -> Fed:
    value = orjson.dumps({"action": "consent", "user_id": user, **fields})
    return Fed(CONTROL_TOPIC, _HOME(user.encode()), user.encode(), value, START_MS + later_ms)


def _buys(user: str, number: int) -> Fed:
    item = {
        "item_id": "1",
        "item_name": "brie",
        "item_category": "deli",
        "item_category2": "cheese",
        "price": 3.5,
    }
    event = {
        "event_id": f"{user}-{number}",
        "event_type": "purchase",
        "user_id": user,
        "occurred_at_ms": START_MS + number,
        "items": [item],
    }
    return Fed(PURCHASE_TOPIC, _HOME(user.encode()), user.encode(), orjson.dumps(event), START_MS + number)


def _campaign() -> Fed:
    campaign = {
        "cid": "cheese",
        "name": "cheese",
        "seat": "shop",
        "starts_at_ms": START_MS - 1000,
        "ends_at_ms": START_MS + 10**9,
        "status": "active",
        "bid_cpm": 5.0,
        "creatives": [{"crid": "1", "title": "cheese", "categories": ["cheese"]}],
    }
    return Fed(CAMPAIGNS_TOPIC, 0, b"cheese", orjson.dumps(campaign), START_MS)


def _read(broker: Broker, topic: str) -> list[Any]:
    return asyncio.run(read_topic(broker.bootstrap_servers, topic, PARTITIONS))


def _updates(broker: Broker) -> dict[str, dict[str, Any]]:
    return {key.decode(): loads(value) for key, value in latest_by_key(_read(broker, UPDATES_TOPIC)).items()}


def _idle(samples: Any, folded: int) -> bool:
    return bool(total(samples, "events") >= folded and samples["interestflow_due_users"] == 0)


def test_each_use_hangs_on_its_purpose_and_a_withdrawal_takes_back_what_was_published(
    broker: Broker, triton: BundledTriton, tmp_path: Path
) -> None:
    asyncio.run(recreate_topics(broker, _APP))
    statements = [_says(user, **fields) for user, fields in _SAYS.items()]
    events = [_buys(user, 1) for user in (*_SAYS, _SILENT)]
    worker = WorkerProcess(
        tmp_path,
        broker.bootstrap_servers,
        APP_ID=_APP,
        KAFKA__BROKER=broker.kind,
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(_MODELS),
        MODEL__GRPC_URL=triton.grpc_url,
        SCORE__MIN_INTERVAL_SECONDS="0.2",
        CONSENT__DEFAULT="none",
    )

    asyncio.run(produce(broker.bootstrap_servers, [_campaign()]))
    with worker:
        asyncio.run(produce(broker.bootstrap_servers, statements))
        worker.until(lambda samples: _idle(samples, len(statements)))
        asyncio.run(produce(broker.bootstrap_servers, events))
        samples = worker.until(lambda samples: _idle(samples, len(statements) + len(events)))
        first = _updates(broker)
        asyncio.run(produce(broker.bootstrap_servers, [_says("withdraws", 10, purposes=[2])]))
        worker.until(lambda samples: _idle(samples, len(statements) + len(events) + 1))
        last = _updates(broker)
        assert worker.end(signal.SIGTERM) == 0

    assert first.keys() == {"all", "no-ads", "withdraws"}
    assert last.keys() == {"all", "no-ads"}
    assert _reasons(samples) == {
        "consent_refused": 2,  # no-profile, garbage
        "consent_expired": 1,
        "consent_missing": 1,
        "minor": 1,
        "consent_unreadable": 1,
    }
    assert (last["all"]["purposes"], last["no-ads"]["purposes"]) == ([2, 3, 4, 5, 6], [3, 5, 6])
    assert last["all"]["user"]["data"][0]["segment"]
    assert last["no-ads"]["user"]["data"][0]["segment"] == []
    assert _ad_reasons(broker) == {
        "all": {"best_value"},
        "no-ads": {"no_consent"},
        "withdraws": {"best_value"},
    }
    states = {
        key.decode(): decode_state(value)
        for key, value in latest_by_key(_read(broker, f"{_APP}-user-behaviour-changelog")).items()
    }
    assert states.keys() == _SAYS.keys()  # of whom nothing was said nothing is kept
    assert {user for user, state in states.items() if len(state.profile)} == {"all", "no-ads"}


def _reasons(samples: dict[str, float]) -> dict[str, float]:
    reasons: dict[str, float] = {}
    for name, value in samples.items():
        if name.startswith("interestflow_events_total|") and name.split("|")[2]:
            reasons[name.split("|")[2]] = reasons.get(name.split("|")[2], 0) + value
    return reasons


def _ad_reasons(broker: Broker) -> dict[str, set[str]]:
    reasons: dict[str, set[str]] = {}
    for record in _read(broker, DECISIONS_TOPIC):
        decision = loads(record.value)
        reasons.setdefault(decision["user_id"], set()).update(one["reason"] for one in decision["candidates"])
    return reasons
