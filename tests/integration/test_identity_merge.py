"""Visitors who turn out to be known users, on real Kafka: two workers, one is killed in the middle, nothing counts twice."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.events import BROWSE_TOPIC, CLICK_TOPIC, CONTROL_TOPIC, PURCHASE_TOPIC, UPDATES_TOPIC
from stream.partitioner import partitioner
from stream.state import UserState, decode_state
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, START_MS, Fed, expected_states, produce
from tests.brokers import Broker, recreate_topics
from tests.kafka_node import KafkaNode
from tests.scripted_triton import Asked, ScriptedTriton, Tensors
from tests.toy_repository import HEAD, write_toy_repository
from tests.worker_process import WorkerProcess, latest_by_key, loads, read_topic

pytestmark = pytest.mark.kafka

_APP = "merging"
_LABELS, _DIMENSIONS = 5, 384
_PAIRS = 60
_HOME = partitioner("murmur2", PARTITIONS)
_TOPICS = {"click": CLICK_TOPIC, "view_item": BROWSE_TOPIC, "purchase": PURCHASE_TOPIC}


class OrderTriton(ScriptedTriton):
    """Scores grow with the first feature of a user, which has no bound."""

    def _right(self, asked: Asked) -> Tensors:
        answer = super()._right(asked)
        if asked.model == HEAD:
            answer["SCORES"] = answer["SCORES"] / (answer["SCORES"] + 1.0)
        return answer


def _event(user: str, event_id: str, kind: str, at_ms: int) -> Fed:
    item = {
        "item_id": event_id,
        "item_name": f"cheese {event_id[-1]}",
        "item_category2": "Cheese",
        "price": 2.5,
    }
    event = {
        "event_id": event_id, "event_type": kind, "user_id": user, "occurred_at_ms": at_ms, "items": [item],
    }  # fmt: skip
    return Fed(_TOPICS[kind], _HOME(user.encode()), user.encode(), orjson.dumps(event), at_ms)


def _acts(number: int, user: str, start_ms: int) -> list[Fed]:
    return [
        _event(user, f"{user}-{number}-{kind}-{start_ms - START_MS}", kind, start_ms + number)
        for kind in _TOPICS
    ]


def _merge(number: int) -> Fed:
    """Every third is keyed by the known user: it has to find its way."""
    key = (f"known-{number}" if number % 3 == 0 else f"visitor-{number}").encode()
    value = orjson.dumps(
        {"action": "merge", "user_id": f"known-{number}", "anonymous_id": f"visitor-{number}"}
    )
    return Fed(CONTROL_TOPIC, _HOME(key), key, value, START_MS + 10_000)


def _feed() -> tuple[list[Fed], list[Fed], list[Fed]]:
    """Before the login, the requests, and what still comes under the visitors' ids."""
    before = [
        fed
        for number in range(_PAIRS)
        for user in ("visitor", "known")
        for fed in _acts(number, f"{user}-{number}", START_MS)
    ]
    merges = [_merge(number) for number in range(_PAIRS)]
    after = [fed for number in range(_PAIRS) for fed in _acts(number, f"visitor-{number}", START_MS + 20_000)]
    return before, merges, after


def _as_known(fed: Fed) -> Fed:
    document = orjson.loads(fed.value or b"")
    user = document["user_id"].replace("visitor", "known")
    value = orjson.dumps({**document, "user_id": user})
    return Fed(fed.topic, _HOME(user.encode()), user.encode(), value, fed.timestamp_ms)


def _did(state: UserState) -> tuple[object, ...]:
    profile = state.profile
    rows = sorted(
        (category, profile.purchases[row], profile.first[row], profile.last[row])
        for row, category in enumerate(profile.categories)
    )
    weights = [round(weight, 3) for weight in profile.weights]
    return state.window.behaviours(), rows, weights, state.orders.count, sorted(state.recent.ids)


def _worker(directory: Path, broker: Broker, triton: ScriptedTriton, models: Path) -> WorkerProcess:
    directory.mkdir()
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID=_APP,
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(models),
        MODEL__GRPC_URL=triton.url,
        SCORE__MIN_INTERVAL_SECONDS="0",
        KAFKA__BUNDLE_RECORDS="3",
        STORE__BACKEND="rocksdb",
    )


def _holds(partitions: int) -> Any:
    def held(samples: Mapping[str, float]) -> bool:
        assigned = samples.get("interestflow_assigned_partitions|behaviour.click")
        return samples.get("interestflow_ready") == 1 and assigned == partitions

    return held


def _merging(samples: Mapping[str, float]) -> bool:
    return any(
        value >= 1
        for name, value in samples.items()
        if name.startswith("interestflow_events_total|accepted||users.control")
    )


async def _states(broker: Broker) -> dict[str, UserState]:
    records = await read_topic(broker.bootstrap_servers, f"{_APP}-user-behaviour-changelog", PARTITIONS)
    return {key.decode(): decode_state(value) for key, value in latest_by_key(records).items()}


async def _updates(broker: Broker) -> dict[str, bytes | None]:
    records = await read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS)
    return {record.key.decode(): record.value for record in records}


async def test_visitors_become_known_users_while_a_worker_is_killed_and_every_event_counts_once(
    kafka_node: KafkaNode, tmp_path: Path
) -> None:
    broker = Broker("kafka", kafka_node.bootstrap_servers)
    await recreate_topics(broker, _APP)
    models = write_toy_repository(tmp_path / "models", labels=_LABELS, dimensions=_DIMENSIONS)
    before, merges, after = _feed()
    expected = expected_states([_as_known(fed) for fed in (*before, *after)], WindowPolicy())

    async with OrderTriton(_LABELS, _DIMENSIONS) as triton:
        with ExitStack() as stack:
            one = stack.enter_context(_worker(tmp_path / "one", broker, triton, models))
            await asyncio.to_thread(one.until, _holds(4))
            two = stack.enter_context(_worker(tmp_path / "two", broker, triton, models))
            await asyncio.to_thread(two.until, _holds(2))
            await produce(broker.bootstrap_servers, before)
            await _until_published(
                broker, {f"{user}-{number}" for number in range(_PAIRS) for user in ("visitor", "known")}
            )

            await produce(broker.bootstrap_servers, merges)
            await asyncio.to_thread(one.until, _merging, polls=1200)
            assert await asyncio.to_thread(one.end, signal.SIGKILL) == -9
            await produce(broker.bootstrap_servers, after)
            one.start()
            await asyncio.to_thread(one.until, _holds(2))
            await _until_counted(broker, expected)
            for worker in (one, two):
                await asyncio.to_thread(worker.until, lambda samples: samples["interestflow_due_users"] == 0)
            states, updates = await _states(broker), await _updates(broker)
            for worker in (one, two):
                assert await asyncio.to_thread(worker.end, signal.SIGTERM) == 0

    _assert_merged(expected, states, updates)


def _assert_merged(
    expected: Mapping[bytes, UserState], states: Mapping[str, UserState], updates: Mapping[str, bytes | None]
) -> None:
    known = {key.decode(): _did(state) for key, state in expected.items()}
    assert {user: _did(state) for user, state in states.items() if user.startswith("known")} == known
    for number in range(_PAIRS):
        redirect, update = states[f"visitor-{number}"], updates[f"known-{number}"]
        assert redirect.ties.into == f"known-{number}".encode()
        assert (redirect.ties.pending, len(redirect.window), len(redirect.profile)) == (0, 0, 0)
        assert updates[f"visitor-{number}"] is None
        assert update is not None
        # Three orders, the visitor's before and after the login and the user's own, each of them once: 3 / (3 + 1).
        assert loads(update)["interests"][0]["score"] == pytest.approx(0.75, abs=1e-3)


async def _until_published(broker: Broker, users: set[str]) -> None:
    for _ in range(240):
        updates = await _updates(broker)
        if users <= updates.keys():
            return
        await asyncio.sleep(0.25)
    raise AssertionError(f"no update of {sorted(users - updates.keys())[:5]}")


async def _until_counted(broker: Broker, expected: Mapping[bytes, UserState]) -> None:
    """Until every state is as it must be; what is wrong then is for the asserts to say."""
    wanted = {key.decode(): _did(state) for key, state in expected.items()}
    for _ in range(240):
        states = await _states(broker)
        if {user: _did(state) for user, state in states.items() if user in wanted} == wanted:
            return
        await asyncio.sleep(0.25)
