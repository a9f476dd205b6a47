"""The benchmark's topics, filled with the shop's events."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

from benchmarks.shop import ShopRecord
from stream.partitioner import partitioner
from stream.topic_specs import TopicSpec, service_topics
from stream.topics import create_topics

PARTITIONS = 4
#: Each contestant's own, so that none reads or grows the changelog of another.
APP_IDS = ("bench-ours", "bench-stock", "bench-loop")
_BATCH_RECORDS = 1_000


async def fill(bootstrap_servers: str, records: Iterable[ShopRecord]) -> None:
    """Make all topics and put the records into them."""
    specs: dict[str, TopicSpec] = {}
    for app_id in APP_IDS:
        specs.update({spec.name: spec for spec in service_topics(app_id, PARTITIONS, virtual_time=True)})
    await create_topics(bootstrap_servers, list(specs.values()))
    await put(bootstrap_servers, records)


async def put(bootstrap_servers: str, records: Iterable[ShopRecord]) -> None:
    """Put the records where murmur2 puts their keys, each partition's in their order."""
    partition_of = partitioner("murmur2", PARTITIONS)
    waiting: dict[tuple[str, int], list[ShopRecord]] = defaultdict(list)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", max_batch_size=900_000)
    await producer.start()
    try:
        for record in records:
            place = record.topic, partition_of(record.key)
            waiting[place].append(record)
            if len(waiting[place]) == _BATCH_RECORDS:
                await _send(producer, place, waiting.pop(place))
        await asyncio.gather(*(_send(producer, place, left) for place, left in waiting.items()))
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, place: tuple[str, int], records: list[ShopRecord]) -> None:
    batch = producer.create_batch()
    for record in records:
        appended = batch.append(key=record.key, value=record.value, timestamp=record.timestamp_ms)
        assert appended is not None, f"{_BATCH_RECORDS} records are more than a batch holds"
    topic, partition = place
    await (await producer.send_batch(batch, topic, partition=partition))
