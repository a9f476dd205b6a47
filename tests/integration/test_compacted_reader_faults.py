"""The group-less reader when brokers restart, topics are made anew, or records do not come."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.compacted import CompactedTopicReader
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


@pytest.mark.embedded
@pytest.mark.parametrize("stays_connected", [True, False])
async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    tmp_path: Path, *, stays_connected: bool
) -> None:
    topic, table, clock = new_topic(), Table(), ImpatientClock(step_seconds=20.0)
    known = [2]

    async def end_offsets(
        consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        return {partition: known[0] if partition.partition == 0 else 0 for partition in partitions}

    with TansuBroker(log_path=tmp_path / "tansu.log") as broker:
        server = {"bootstrap_servers": broker.bootstrap_servers}
        await create(broker.bootstrap_servers, topic)
        await produce(broker.bootstrap_servers, topic, (b"bb", b"1"), (b"bb", b"2"))
        reader = CompactedTopicReader(topic, server, table.on_record, end_offsets=end_offsets, clock=clock)
        async with running(reader):
            await is_ready(reader)
            if not stays_connected:
                await reader.stop()
            broker.stop()
            broker.start()  # empty
            await create(broker.bootstrap_servers, topic)
            await produce(broker.bootstrap_servers, topic, (b"bb", b"3"))
            known[0] = 1
            if not stays_connected:
                await reader.start()
            await table.until((b"bb", b"3"))


@pytest.mark.embedded
async def test_an_end_below_what_was_read_is_an_error_and_all_is_read_again(tansu: TansuBroker) -> None:
    topic, table, clock = new_topic(), Table(), ImpatientClock(step_seconds=20.0)
    await create(tansu.bootstrap_servers, topic)
    await produce(tansu.bootstrap_servers, topic, (b"bb", b"1"))
    end_of_first = [1]
    errors: list[Exception | None] = []

    async def end_offsets(
        consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        errors.append(reader.last_error)
        return {partition: end_of_first[0] if partition.partition == 0 else 0 for partition in partitions}

    reader = CompactedTopicReader(
        topic,
        {"bootstrap_servers": tansu.bootstrap_servers},
        table.on_record,
        end_offsets=end_offsets,
        clock=clock,
    )
    async with running(reader), asyncio.timeout(LIMIT_SECONDS):
        await is_ready(reader)
        end_of_first[0] = 0
        table.records.clear()
        await table.until((b"bb", b"1"))

        assert any(
            str(error).startswith(
                f"{topic} partition 0 ends at offset 0, but was read up to 1: it was made anew"
            )
            for error in errors
        )


@pytest.mark.embedded
async def test_records_that_are_there_and_do_not_come_are_an_error(tansu: TansuBroker) -> None:
    topic, table, clock = new_topic(), Table(), ImpatientClock(step_seconds=20.0)
    await create(tansu.bootstrap_servers, topic)
    await produce(tansu.bootstrap_servers, topic, (b"bb", b"1"))
    reader = CompactedTopicReader(
        topic,
        {"bootstrap_servers": tansu.bootstrap_servers},
        table.on_record,
        end_offsets=ends(9, 0),
        clock=clock,
    )
    async with running(reader), asyncio.timeout(LIMIT_SECONDS):
        await clock.third_pause.wait()

        assert str(reader.last_error).startswith(
            f"{topic} partition 0 stands at offset 1 although it reached 9 more than 30 s ago"
        )
        assert not reader.ready.is_set()
        assert table.records == [(b"bb", b"1")]


@pytest.mark.kafka
async def test_reading_goes_on_over_a_restart_of_the_broker(tmp_path: Path, kafka_node: KafkaNode) -> None:
    assert kafka_node.is_running  # its fixture has skipped if Kafka can't be had
    topic, table = new_topic(), Table()
    with KafkaNode(tmp_path) as node:
        await create(node.bootstrap_servers, topic)
        await produce(node.bootstrap_servers, topic, (b"a", b"1"))
        async with running(
            CompactedTopicReader(topic, {"bootstrap_servers": node.bootstrap_servers}, table.on_record)
        ) as reader:
            await is_ready(reader)
            await asyncio.to_thread(node.restart)
            await produce(node.bootstrap_servers, topic, (b"a", b"2"))
            await table.until((b"a", b"2"))

            assert table.records == [(b"a", b"1"), (b"a", b"2")]
