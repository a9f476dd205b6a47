"""Fetches of a Faust app on the embedded broker are short."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import pytest
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from stream.embedded.broker import TansuBroker
from stream.short_fetches import FETCH_MAX_WAIT_MS, install_short_fetches
from stream.topic_specs import TopicSpec
from stream.topics import create_topics

pytestmark = pytest.mark.embedded


@pytest.fixture
def short_fetches() -> Iterator[None]:
    uninstall = install_short_fetches()
    yield
    uninstall()


async def test_a_started_app_asks_the_broker_with_the_short_wait(
    tansu: TansuBroker, short_fetches: None, tmp_path: Path
) -> None:
    topic, assigned = uuid4().hex, asyncio.Event()
    await create_topics(tansu.bootstrap_servers, [TopicSpec(topic, 1)])
    app = faust.App(
        topic,
        broker=f"kafka://{tansu.bootstrap_servers}",
        datadir=tmp_path,
        loop=asyncio.get_running_loop(),
        topic_partitions=1,
        topic_disable_leader=True,
        web_enabled=False,
        broker_session_timeout=10.0,
        broker_rebalance_timeout=12.0,
        broker_heartbeat_interval=1.0,
    )

    @app.on_partitions_assigned.connect
    async def note_assignment(*_: object, **__: object) -> None:
        assigned.set()

    @app.agent(app.topic(topic))
    async def consume(stream: faust.StreamT[bytes]) -> None:
        async for _ in stream:
            pass

    await app.start()
    async with asyncio.timeout(60):
        await assigned.wait()
    consumer: Any = app.consumer
    wait_ms = consumer._thread._consumer._fetcher._fetch_max_wait_ms
    await app.stop()

    assert wait_ms == FETCH_MAX_WAIT_MS


def test_uninstalling_puts_fausts_own_method_back() -> None:
    original = AIOKafkaConsumerThread._create_worker_consumer

    uninstall = install_short_fetches()
    replaced = AIOKafkaConsumerThread._create_worker_consumer
    uninstall()

    assert replaced is not original
    assert AIOKafkaConsumerThread._create_worker_consumer is original
