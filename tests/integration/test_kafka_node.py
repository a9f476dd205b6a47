"""The Kafka that the other tests stand on: real, fast to start, and with its data after a restart or a crash."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.embedded.probe import probe_cluster_id
from tests.kafka_node import CLUSTER_ID, KafkaNode, KafkaUnavailableError, fetch_jars, find_java

pytestmark = pytest.mark.kafka

LONG_AGO_MS = 1_500_000_000_000


@pytest.fixture
def own_node(tmp_path: Path, kafka_node: KafkaNode) -> KafkaNode:
    """A node apart from the shared one (whose fixture has skipped if Kafka can't be had)."""
    kafka_node.bootstrap_servers  # noqa: B018
    return KafkaNode(tmp_path, timestamp_type="LogAppendTime")


async def create(node: KafkaNode, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1)])
    await admin.close()


async def produce(node: KafkaNode, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=node.bootstrap_servers)
    await producer.start()
    await producer.send_and_wait(topic, value, key=b"k", timestamp_ms=LONG_AGO_MS)
    await producer.stop()


async def consume(node: KafkaNode, topic: str, count: int) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=node.bootstrap_servers,
        group_id=f"{topic}-reader",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    records = [await consumer.getone() for _ in range(count)]
    await consumer.stop()
    return records


async def test_a_record_comes_back_through_a_consumer_group(kafka_node: KafkaNode) -> None:
    await create(kafka_node, "node.echo")

    await produce(kafka_node, "node.echo", b"hello")
    records = await consume(kafka_node, "node.echo", 1)

    assert [(record.value, record.timestamp) for record in records] == [(b"hello", LONG_AGO_MS)]


async def test_data_outlives_a_restart_and_a_crash(own_node: KafkaNode) -> None:
    with own_node:
        await create(own_node, "node.durable")
        await produce(own_node, "node.durable", b"before")
        own_node.restart()
        await produce(own_node, "node.durable", b"between")
        own_node.kill()
        down = probe_cluster_id("127.0.0.1", int(own_node.bootstrap_servers.rpartition(":")[2]))
        own_node.start()
        records = await consume(own_node, "node.durable", 2)

    assert down is None
    assert [record.value for record in records] == [b"before", b"between"]
    assert all(record.timestamp > LONG_AGO_MS for record in records)  # LogAppendTime: the broker's clock
    assert not own_node.is_running


def test_the_node_names_its_cluster(kafka_node: KafkaNode) -> None:
    assert probe_cluster_id("127.0.0.1", int(kafka_node.bootstrap_servers.rpartition(":")[2])) == CLUSTER_ID


def test_without_java_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(
        KafkaUnavailableError, match=r"^Apache Kafka needs Java 17, but there is no java on PATH$"
    ):
        find_java()


def test_an_old_java_is_refused_with_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")

    with pytest.raises(
        KafkaUnavailableError, match=rf"^Apache Kafka needs Java 17, but {java} has version 11$"
    ):
        find_java()


def test_without_maven_and_without_cached_jars_the_reason_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(KafkaUnavailableError, match=r"jars are not in the cache and there is no mvn on PATH"):
        fetch_jars(cache=tmp_path / "cache")


def test_jars_that_maven_cannot_fetch_are_told_with_mavens_first_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    maven = tmp_path / "mvn"
    maven.write_text(
        "#!/bin/sh\necho '[ERROR] Could not resolve dependencies'\necho '[ERROR] more'\nexit 1\n"
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")

    with pytest.raises(
        KafkaUnavailableError, match=r"^mvn could not fetch .*: \[ERROR\] Could not resolve dependencies$"
    ):
        fetch_jars(cache=tmp_path / "cache")

    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]
