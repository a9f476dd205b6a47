"""End offsets are true on the embedded broker, whose ListOffsets is not, and on Apache Kafka."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from stream.embedded.broker import TansuBroker
from stream.embedded.ports import free_ports
from stream.embedded.tansu_highwater import install_tansu_highwater, is_tansu, true_end_offsets
from stream.errors import TransientError
from stream.topic_specs import TopicSpec
from stream.topics import create_topics
from tests.kafka_node import KafkaNode

BATCHES = (1, 5, 100)
RECORDS = 106


@pytest.fixture(
    params=[
        pytest.param("tansu", marks=pytest.mark.embedded),
        pytest.param("kafka_node", marks=pytest.mark.kafka),
    ]
)
def bootstrap_servers(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).bootstrap_servers)


@pytest.fixture
def faust_highwaters(tansu: TansuBroker) -> Iterator[None]:
    """Faust with our end offsets, and as it was afterwards."""
    uninstall = install_tansu_highwater(tansu.bootstrap_servers)
    yield
    uninstall()


async def produce_batches(bootstrap_servers: str, topic: str, *batches: int) -> None:
    """Records with distinct keys in partition 0, in batches of these sizes."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    for number, size in enumerate(batches):
        batch = producer.create_batch()
        for record in range(size):
            batch.append(key=f"{number}-{record}".encode(), value=b"v", timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))
    await producer.stop()


async def topic_with_batches(bootstrap_servers: str, *batches: int) -> str:
    """A new topic of 3 partitions with these batches of records in partition 0."""
    name = uuid4().hex
    await create_topics(bootstrap_servers, [TopicSpec(name, 3)])
    await produce_batches(bootstrap_servers, name, *batches)
    return name


@pytest.mark.parametrize("last", [1, 2, 100])
async def test_the_end_is_true_after_batches_of_any_size(bootstrap_servers: str, last: int) -> None:
    topic = await topic_with_batches(bootstrap_servers, *BATCHES, last)

    ends = await true_end_offsets(bootstrap_servers, [TopicPartition(topic, 0)])

    assert ends == {TopicPartition(topic, 0): RECORDS + last}


async def test_a_first_batch_counts_in_full_and_empty_partitions_end_at_zero(bootstrap_servers: str) -> None:
    topic = await topic_with_batches(bootstrap_servers, 100)
    partitions = [TopicPartition(topic, partition) for partition in range(3)]

    ends = await true_end_offsets(bootstrap_servers, partitions)

    assert ends == {partitions[0]: 100, partitions[1]: 0, partitions[2]: 0}


async def test_of_no_partitions_there_are_no_ends(bootstrap_servers: str) -> None:
    assert await true_end_offsets(bootstrap_servers, []) == {}


@pytest.mark.kafka
async def test_a_partition_whose_records_were_all_deleted_ends_where_it_ended(kafka_node: KafkaNode) -> None:
    topic = await topic_with_batches(kafka_node.bootstrap_servers, *BATCHES)
    partition = TopicPartition(topic, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_node.bootstrap_servers)
    await admin.start()
    await admin.delete_records({partition: RecordsToDelete(RECORDS)})
    await admin.close()

    assert await true_end_offsets(kafka_node.bootstrap_servers, [partition]) == {partition: RECORDS}


@pytest.mark.kafka
async def test_a_partition_that_ends_with_a_transaction_marker_counts_it(kafka_node: KafkaNode) -> None:
    topic = await topic_with_batches(kafka_node.bootstrap_servers, 5)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_node.bootstrap_servers, transactional_id=topic)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"v", partition=0)
    await producer.stop()

    ends = await true_end_offsets(kafka_node.bootstrap_servers, [TopicPartition(topic, 0)])

    assert ends == {TopicPartition(topic, 0): 7}  # 5 records, 1 in the transaction, its commit marker


async def test_a_kafka_that_does_not_answer_is_named_with_the_partitions() -> None:
    servers = f"127.0.0.1:{free_ports(1)[0]}"

    with pytest.raises(
        TransientError, match=rf"^the Kafka at {servers} did not tell the end offsets of t-0, t-1 "
    ):
        await true_end_offsets(servers, [TopicPartition("t", 0), TopicPartition("t", 1)])


@pytest.mark.embedded
async def test_tansu_itself_still_tells_a_wrong_end(tansu: TansuBroker) -> None:
    """When this fails, Tansu was mended and the work-around can go."""
    topic = await topic_with_batches(tansu.bootstrap_servers, *BATCHES)
    consumer = AIOKafkaConsumer(bootstrap_servers=tansu.bootstrap_servers)
    await consumer.start()
    told = await consumer.end_offsets([TopicPartition(topic, 0)])
    await consumer.stop()

    assert told == {TopicPartition(topic, 0): 7}


@pytest.mark.embedded
async def test_tansu_is_known_by_its_cluster_id(tansu: TansuBroker) -> None:
    assert await is_tansu(tansu.bootstrap_servers)


@pytest.mark.kafka
async def test_apache_kafka_is_not_taken_for_tansu(kafka_node: KafkaNode) -> None:
    assert not await is_tansu(kafka_node.bootstrap_servers)


@pytest.mark.embedded
async def test_faust_recovers_a_whole_table_whose_changelog_was_written_in_batches(
    tansu: TansuBroker, faust_highwaters: None, tmp_path: Path
) -> None:
    app_id, recovered = uuid4().hex, asyncio.Event()
    changelog = f"{app_id}-seen-changelog"
    specs = [TopicSpec(f"{app_id}.input", 1), TopicSpec(changelog, 1, compacted=True)]
    await create_topics(tansu.bootstrap_servers, specs)
    await produce_batches(tansu.bootstrap_servers, changelog, *BATCHES)
    app = faust_app(app_id, tansu.bootstrap_servers, tmp_path)
    table = app.Table("seen", key_type=bytes, value_type=bytes, partitions=1)

    @table.on_recover
    async def note_recovery() -> None:
        recovered.set()

    @app.agent(app.topic(f"{app_id}.input"))
    async def consume(stream: faust.StreamT[bytes]) -> None:
        async for _ in stream:
            pass

    await app.start()
    async with asyncio.timeout(60):
        await recovered.wait()
    size = len(table)
    await app.stop()

    assert size == RECORDS  # stock Faust: 7


def faust_app(app_id: str, bootstrap_servers: str, directory: Path) -> faust.App:
    return faust.App(
        app_id,
        broker=f"kafka://{bootstrap_servers}",
        datadir=directory,
        loop=asyncio.get_running_loop(),
        topic_partitions=1,
        topic_disable_leader=True,
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
        # Else the first join of a group takes 30 s on Tansu.
        broker_session_timeout=10.0,
        broker_rebalance_timeout=12.0,
        broker_heartbeat_interval=1.0,
    )


def test_uninstalling_puts_fausts_own_method_back() -> None:
    original = AIOKafkaConsumerThread._highwaters

    uninstall = install_tansu_highwater("127.0.0.1:1")
    replaced = AIOKafkaConsumerThread._highwaters
    uninstall()

    assert replaced is not original
    assert AIOKafkaConsumerThread._highwaters is original
