"""What can't be written to the dead letters is not acked: the worker waits or stops by name, and nothing is lost."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.cli import EXIT_FATAL
from stream.events import CLICK_TOPIC, DEAD_LETTER_TOPIC, OWNED_TOPICS
from stream.state import decode_state
from stream.topic_specs import service_topics
from stream.topics import create_topics
from tests.behaviour_feed import PARTITIONS, Fed, events, produce
from tests.brokers import Broker, recreate_topics
from tests.worker_process import WorkerProcess, latest_by_key, read_topic, total

APP_ID = "dead-letter-faults"
ON_KAFKA = pytest.mark.parametrize(
    "broker", [pytest.param("kafka_node", marks=pytest.mark.kafka)], indirect=True
)
GOOD = events(200)
BAD = [item._replace(value=b"{not json") for item in events(40, seed=8)]


@pytest.fixture
def worker(broker: Broker, tmp_path: Path) -> Iterator[WorkerProcess]:
    asyncio.run(recreate_topics(broker, APP_ID))
    settings = {"APP_ID": APP_ID, "KAFKA__BROKER": broker.kind, "WINDOW__LATENESS_GRACE_HOURS": "720"}
    with WorkerProcess(tmp_path, broker.bootstrap_servers, **settings) as worker:
        yield worker


def feed(broker: Broker, fed: list[Fed]) -> None:
    asyncio.run(produce(broker.bootstrap_servers, fed))


async def with_admin(broker: Broker, method: str, *arguments: Any) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        await getattr(admin, method)(*arguments)
    finally:
        await admin.close()


def limit_dead_letters(broker: Broker, **config: str) -> None:
    """Give the topic this configuration, beside what the worker requires of it."""
    resource = ConfigResource(ConfigResourceType.TOPIC, DEAD_LETTER_TOPIC, {"retention.ms": "-1", **config})
    asyncio.run(with_admin(broker, "alter_configs", [resource]))


def make_dead_letters(broker: Broker) -> None:
    specs = [
        spec
        for spec in service_topics(APP_ID, PARTITIONS, virtual_time=True)
        if spec.name == DEAD_LETTER_TOPIC
    ]
    asyncio.run(create_topics(broker.bootstrap_servers, specs))


async def committed(broker: Broker) -> Counter[tuple[str, int]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, group_id=APP_ID, enable_auto_commit=False
    )
    await consumer.start()
    try:
        tps = [TopicPartition(topic, number) for topic in OWNED_TOPICS for number in range(PARTITIONS)]
        return Counter({tuple(tp): await consumer.committed(tp) or 0 for tp in tps})
    finally:
        await consumer.stop()


def sources(broker: Broker) -> Counter[tuple[str, int, int]]:
    """How often each rejected record is in the dead letters."""
    letters = asyncio.run(read_topic(broker.bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS))
    found: Counter[tuple[str, int, int]] = Counter()
    for letter in letters:
        headers = {
            name.removeprefix("__streams.errors."): content.decode() for name, content in letter.headers
        }
        found[headers["topic"], int(headers["partition"]), int(headers["offset"])] += 1
    return found


def revisions(broker: Broker) -> int:
    """Events in the states, each counted as often as it was folded."""
    changes = asyncio.run(
        read_topic(broker.bootstrap_servers, f"{APP_ID}-user-behaviour-changelog", PARTITIONS)
    )
    return sum(decode_state(value).revision for value in latest_by_key(changes).values())


@ON_KAFKA
def test_dead_letters_that_kafka_refuses_end_the_worker_by_name_and_after_mending_all_is_there_once(
    broker: Broker, worker: WorkerProcess
) -> None:
    feed(broker, GOOD[:100])
    worker.until(lambda samples: total(samples, "events") >= 100)
    before = asyncio.run(committed(broker))
    limit_dead_letters(broker, **{"max.message.bytes": "100"})
    feed(broker, BAD)
    code, log = worker.wait(), worker.log
    refused = asyncio.run(committed(broker))
    letters = sources(broker)

    limit_dead_letters(broker)
    feed(broker, GOOD[100:])
    worker.start()
    worker.until(lambda samples: total(samples, "events") >= 140)
    ended = worker.end(signal.SIGTERM)

    assert code == EXIT_FATAL
    assert f"{DEAD_LETTER_TOPIC} partition" in log
    assert "refused a batch: MessageSizeTooLargeError" in log
    assert (refused.total(), letters.total()) == (100, 0)
    assert before.total() <= 100
    assert (len(sources(broker)), set(sources(broker).values())) == (40, {1})
    assert (ended, revisions(broker), asyncio.run(committed(broker)).total()) == (0, 200, 240)


@ON_KAFKA
def test_while_the_dead_letter_topic_is_gone_nothing_is_acked_and_then_all_is_there_once(
    broker: Broker, worker: WorkerProcess
) -> None:
    worker.end(signal.SIGTERM)
    worker.environment["INTERESTFLOW_KAFKA__REQUEST_TIMEOUT_SECONDS"] = (
        "3"  # how long a send waits for its topic
    )
    worker.start()
    feed(broker, [*GOOD[:100], *BAD[:20]])
    worker.until(lambda samples: total(samples, "events") >= 120)
    asyncio.run(with_admin(broker, "delete_topics", [DEAD_LETTER_TOPIC]))
    feed(broker, [*BAD[20:], *GOOD[100:]])
    waiting = worker.until(lambda samples: total(samples, "send_retries") >= 2)
    meanwhile = asyncio.run(committed(broker))

    make_dead_letters(broker)
    samples = worker.until(lambda samples: total(samples, "events") >= 240)
    ended = worker.end(signal.SIGTERM)

    assert total(waiting, "events") < 240
    assert meanwhile.total() < 240
    assert total(samples, "events") == 240
    assert (len(sources(broker)), set(sources(broker).values())) == (20, {1})
    assert (ended, revisions(broker), asyncio.run(committed(broker)).total()) == (0, 200, 240)


def test_when_almost_everything_is_bad_the_worker_stops_and_says_so_and_loses_nothing(
    broker: Broker, worker: WorkerProcess
) -> None:
    bad = [item for item in BAD * 8 if item.topic == CLICK_TOPIC]
    worker.end(signal.SIGTERM)
    worker.environment["INTERESTFLOW_KAFKA__BUNDLE_RECORDS"] = "5"
    worker.environment["INTERESTFLOW_DEAD_LETTER__LIMIT_RECORDS"] = "10"
    feed(broker, bad)
    worker.start()
    code, log = worker.wait(), worker.log
    written = len(sources(broker))
    acked = asyncio.run(committed(broker)).total()

    worker.environment["INTERESTFLOW_DEAD_LETTER__LIMIT_RATIO"] = "0"
    worker.start()
    worker.until(lambda samples: total(samples, "events") >= len(bad) - acked)
    ended = worker.end(signal.SIGTERM)

    assert len(bad) == 152
    assert code == EXIT_FATAL
    assert "100% of the last records of behaviour.click were rejected, most for json: 10" in log
    assert 95 <= written < 105  # judged after ten windows of 10, in bundles of at most 5
    assert acked <= written
    assert (ended, len(sources(broker)), asyncio.run(committed(broker)).total()) == (0, 152, 152)
