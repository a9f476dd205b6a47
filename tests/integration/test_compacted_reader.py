"""The group-less reader of a compacted topic, on the embedded broker and on Apache Kafka."""

import asyncio

import pytest

from stream.compacted import CompactedTopicReader, TopicMissingError
from stream.embedded.broker import TansuBroker
from tests.integration.compacted_topic import (
    LIMIT_SECONDS,
    ImpatientClock,
    Table,
    create,
    ends,
    is_ready,
    new_topic,
    produce,
    running,
)
from tests.kafka_node import KafkaNode


@pytest.fixture(
    params=[pytest.param("tansu", marks=pytest.mark.embedded), pytest.param("kafka", marks=pytest.mark.kafka)]
)
def bootstrap(request: pytest.FixtureRequest) -> str:
    broker: TansuBroker | KafkaNode
    broker = request.getfixturevalue("tansu" if request.param == "tansu" else "kafka_node")
    return broker.bootstrap_servers


async def test_all_that_was_there_comes_before_ready_and_the_rest_follows(bootstrap: str) -> None:
    topic, table = new_topic(), Table()
    await create(bootstrap, topic)
    await produce(bootstrap, topic, (b"a", b"1"), (b"bb", b"2"), (b"a", None))

    reader = CompactedTopicReader(
        topic, {"bootstrap_servers": bootstrap}, table.on_record, end_offsets=ends(1, 2)
    )
    async with running(reader):
        await is_ready(reader)
        before = list(table.records)
        await produce(bootstrap, topic, (b"a", b"3"))
        await table.until((b"a", b"3"))

        assert sorted(before, key=str) == [(b"a", None), (b"a", b"1"), (b"bb", b"2")]
        assert before.index((b"a", b"1")) < before.index((b"a", None))
        assert reader.alive
        assert reader.last_error is None
    assert not reader.alive


async def test_an_empty_topic_is_ready(bootstrap: str) -> None:
    topic, table = new_topic(), Table()
    await create(bootstrap, topic)

    async with running(
        CompactedTopicReader(topic, {"bootstrap_servers": bootstrap}, table.on_record)
    ) as reader:
        await is_ready(reader)

        assert table.records == []


async def test_a_missing_topic_is_named_and_not_created_and_read_once_it_is_there(bootstrap: str) -> None:
    topic, table, clock = new_topic(), Table(), ImpatientClock()
    reader = CompactedTopicReader(
        topic, {"bootstrap_servers": bootstrap}, table.on_record, end_offsets=ends(1, 0), clock=clock
    )
    async with running(reader), asyncio.timeout(LIMIT_SECONDS):
        await clock.third_pause.wait()
        error, was_alive, was_ready = reader.last_error, reader.alive, reader.ready.is_set()
        await create(bootstrap, topic)
        await produce(bootstrap, topic, (b"bb", b"2"))
        await is_ready(reader)

        assert isinstance(error, TopicMissingError)
        assert str(error).startswith(f"topic {topic} does not exist or has no partitions; create it")
        assert (was_alive, was_ready) == (False, False)
        assert clock.pauses[:3] == [0.5, 1.0, 2.0]
        assert table.records == [(b"bb", b"2")]
        assert reader.alive


async def test_a_record_that_the_callback_fails_on_is_tried_again_and_none_is_lost(bootstrap: str) -> None:
    topic, table, clock = new_topic(), Table(), ImpatientClock()
    await create(bootstrap, topic)
    await produce(bootstrap, topic, (b"bb", b"1"), (b"bb", b"2"), (b"bb", b"3"))
    seen: list[bytes | None] = []
    errors: list[Exception | None] = []

    def failing_twice(key: bytes | None, value: bytes | None, partition: int, offset: int) -> None:
        seen.append(value)
        errors.append(reader.last_error)
        if seen.count(b"2") in (1, 2) and value == b"2":
            raise ValueError(f"not now {len(seen)}")
        table.on_record(key, value, partition, offset)

    reader = CompactedTopicReader(
        topic, {"bootstrap_servers": bootstrap}, failing_twice, end_offsets=ends(3, 0), clock=clock
    )
    async with running(reader):
        await is_ready(reader)

        assert seen == [b"1", b"2", b"2", b"2", b"3"]
        assert [str(error) for error in errors] == ["None", "None", "not now 2", "not now 3", "not now 3"]
        assert table.records == [(b"bb", b"1"), (b"bb", b"2"), (b"bb", b"3")]
        assert clock.pauses == [0.5, 1.0]
        assert reader.last_error is None


async def test_a_reader_that_is_started_twice_says_so(bootstrap: str) -> None:
    topic, table = new_topic(), Table()
    await create(bootstrap, topic)

    async with running(
        CompactedTopicReader(topic, {"bootstrap_servers": bootstrap}, table.on_record)
    ) as reader:
        with pytest.raises(RuntimeError, match=f"the reader of {topic} is started already; stop it first"):
            await reader.start()


async def test_stopping_a_reader_that_never_started_is_harmless() -> None:
    reader = CompactedTopicReader("any", {}, Table().on_record)

    await reader.stop()

    assert not reader.alive


async def test_a_stopped_reader_goes_on_where_it_stood(bootstrap: str) -> None:
    topic, table = new_topic(), Table()
    await create(bootstrap, topic)
    await produce(bootstrap, topic, (b"bb", b"1"))
    reader = CompactedTopicReader(
        topic, {"bootstrap_servers": bootstrap}, table.on_record, end_offsets=ends(1, 0)
    )
    async with running(reader):
        await is_ready(reader)
    await produce(bootstrap, topic, (b"bb", b"2"))

    async with running(reader):
        await table.until((b"bb", b"2"))

    assert table.records == [(b"bb", b"1"), (b"bb", b"2")]


@pytest.mark.kafka
async def test_a_transaction_marker_at_the_end_does_not_keep_from_ready(kafka_node: KafkaNode) -> None:
    topic, table = new_topic(), Table()
    await create(kafka_node.bootstrap_servers, topic)
    await produce(kafka_node.bootstrap_servers, topic, (b"a", b"1"), transaction=topic)

    async with running(
        CompactedTopicReader(topic, {"bootstrap_servers": kafka_node.bootstrap_servers}, table.on_record)
    ) as reader:
        await is_ready(reader)

        assert table.records == [(b"a", b"1")]
