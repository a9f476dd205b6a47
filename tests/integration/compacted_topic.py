"""A compacted topic on a real broker, and what takes its records: for the tests of its reader."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.clock import SystemClock
from stream.compacted import CompactedTopicReader, EndOffsets

Record = tuple[bytes | None, bytes | None]
LIMIT_SECONDS = 60.0


class ImpatientClock(SystemClock):
    """Keeps the pauses that it is asked for and makes them short; each look at it is `step_seconds` later."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.pauses: list[float] = []
        self.third_pause = asyncio.Event()
        self._step_seconds = step_seconds
        self._now_seconds = 0.0

    def monotonic_seconds(self) -> float:
        self._now_seconds += self._step_seconds
        return self._now_seconds

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 3:
            self.third_pause.set()
        await super().sleep(0.02)


class Table:
    """Takes records and lets a test wait for them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._more = asyncio.Event()

    def on_record(self, key: bytes | None, value: bytes | None, partition: int, offset: int) -> None:
        self.records.append((key, value))
        self._more.set()

    async def until(self, record: Record) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while record not in self.records:
                self._more.clear()
                await self._more.wait()


def new_topic() -> str:
    return f"compacted-{uuid4().hex}"


async def create(bootstrap: str, topic: str, partitions: int = 2) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs={"cleanup.policy": "compact"})])
    await admin.close()


async def produce(bootstrap: str, topic: str, *records: Record, transaction: str | None = None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transaction)
    await producer.start()
    if transaction:
        await producer.begin_transaction()
    for key, value in records:
        await producer.send_and_wait(topic, value, key=key, partition=len(key or b"") % 2)
    if transaction:
        await producer.commit_transaction()
    await producer.stop()


def ends(*offsets: int) -> EndOffsets:
    """Ends by partition as the test knows them: the embedded broker tells them wrongly after a batch."""

    async def known(
        consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        return {partition: offsets[partition.partition] for partition in partitions}

    return known


@asynccontextmanager
async def running(reader: CompactedTopicReader) -> AsyncIterator[CompactedTopicReader]:
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


async def is_ready(reader: CompactedTopicReader) -> None:
    await asyncio.wait_for(reader.ready.wait(), LIMIT_SECONDS)
