"""Three nodes hold on to what they acknowledged while one of them is away."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode
from tests.worker_process import read_topic

pytestmark = pytest.mark.kafka


async def test_what_was_acknowledged_outlives_a_killed_node(tmp_path: Path, kafka_node: KafkaNode) -> None:
    kafka_node.bootstrap_servers  # noqa: B018 - skips where Kafka can't be had
    with KafkaCluster(tmp_path) as cluster:
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic("cluster.durable", 3, 3)])
        await admin.close()
        producer = AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap_servers, acks="all", enable_idempotence=True
        )
        await producer.start()
        for partition in range(3):
            await producer.send_and_wait("cluster.durable", b"before", partition=partition)
        cluster.nodes[0].kill()
        for partition in range(3):
            await producer.send_and_wait("cluster.durable", b"without", partition=partition)
        cluster.nodes[0].start()
        for partition in range(3):
            await producer.send_and_wait("cluster.durable", b"after", partition=partition)
        await producer.stop()

        records = await read_topic(cluster.bootstrap_servers, "cluster.durable", 3)

    assert [record.value for record in records] == [b"before", b"without", b"after"] * 3
