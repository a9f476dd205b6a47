"""Three nodes hold on to what they acknowledged while one of them is away."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from stream.clock import SystemClock
from stream.fences import Ownership
from stream.lease import Lease
from stream.metrics import Metrics
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.topic_specs import TopicSpec
from stream.topics import create_topics
from tests.builders import FrozenClock, never
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode
from tests.worker_process import read_topic

pytestmark = pytest.mark.kafka


async def test_what_was_acknowledged_outlives_a_killed_node(tmp_path: Path, kafka_node: KafkaNode) -> None:
    kafka_node.bootstrap_servers  # noqa: B018 - skips where Kafka can't be had
    with KafkaCluster(tmp_path) as cluster:
        await create_topics(
            cluster.bootstrap_servers, [TopicSpec("cluster.durable", 3)], replication_factor=3
        )
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


class HurriedClock(FrozenClock):
    """Stands still, and lets others have their turn."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


async def test_of_requests_to_several_brokers_that_are_given_up_none_arrives(
    tmp_path: Path, kafka_node: KafkaNode
) -> None:
    kafka_node.bootstrap_servers  # noqa: B018 - as above
    clock, metrics = HurriedClock(), Metrics()
    lease = Lease(clock, metrics, session_seconds=10.0)
    with KafkaCluster(tmp_path) as cluster:
        await create_topics(cluster.bootstrap_servers, [TopicSpec("cluster.held", 3)], replication_factor=3)
        sender = BatchSender(
            {"bootstrap_servers": cluster.bootstrap_servers},
            SystemClock(),
            metrics,
            linger_ms=0,
            idempotent=True,
            ownership=Ownership(lease),
        )
        await sender.start()

        async def send(value: bytes) -> list[int]:
            outgoing = [
                Outgoing("cluster.held", partition, [OutRecord(b"k", value)]) for partition in range(3)
            ]
            return await sender.send(outgoing, never)

        before = await send(b"before")
        lease.renew(lease.now())
        clock.monotonic += 20.0  # a worker that slept beyond its session
        late = asyncio.create_task(send(b"late"))
        async with asyncio.timeout(30.0):
            while metrics.sends_held._value.get() < 3:
                await asyncio.sleep(0.01)
        await sender.settle(30.0)
        with pytest.raises(SendAbandonedError):
            await late
        lease.renew(lease.now())  # joined anew
        await asyncio.sleep(1.0)  # whatever still waits would go now
        after = await send(b"after")
        await sender.stop()

    assert (before, after) == ([0, 0, 0], [1, 1, 1])
