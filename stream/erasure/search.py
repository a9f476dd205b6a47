"""Looking for a user in Kafka and on disk: every record of a topic, every key of a store on this machine."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.embedded.tansu_highwater import true_end_offsets
from stream.erasure.report import Found, mentions
from stream.errors import TransientError
from stream.stores.rocks import holds_key

_POLL_MS: Final = 200
#: Without any record for this long, a log that should have more is not being read.
_STALL_SECONDS: Final = 30.0


class SearchStalledError(TransientError):
    """A topic could not be read to its end."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"no record of {topic} came for {_STALL_SECONDS:g} s before its end was reached: check the brokers, then "
            "run the command again; an erasure may be asked for twice"
        )


async def search_topic(topic: str, partitions: int, user: bytes, client_kwargs: Mapping[str, Any]) -> Found:
    """Read all of a topic and count what is about the user.

    Raises:
        SearchStalledError: If it can't be read to its end.
    """
    by_key = in_value = newest_ms = 0
    in_force = False
    tps = [TopicPartition(topic, partition) for partition in range(partitions)]
    async for record in _records(tps, client_kwargs):
        if record.key == user:
            in_force = record.value is not None
            by_key += in_force
        elif record.value is None or not mentions(record.value, user):
            continue
        else:
            in_value += 1
        newest_ms = max(newest_ms, record.timestamp)
    return Found(by_key, in_value, in_force, newest_ms)


async def newest_timestamp(tps: Sequence[TopicPartition], client_kwargs: Mapping[str, Any]) -> int:
    """The greatest timestamp among the last records of these partitions, 0 if they are empty."""
    ends = await true_end_offsets(_servers(client_kwargs), tps, client_kwargs=client_kwargs)
    holding = {tp: end for tp, end in ends.items() if end}
    newest = 0
    if not holding:
        return newest
    async with _consumer(list(holding), client_kwargs) as consumer:
        for tp, end in holding.items():
            consumer.seek(tp, end - 1)
            async with asyncio.timeout(_STALL_SECONDS):
                newest = max(newest, (await consumer.getone(tp)).timestamp)
    return newest


async def tombstone_after(
    tp: TopicPartition, offset: int, user: bytes, client_kwargs: Mapping[str, Any], wait_seconds: float
) -> bool:
    """Whether a tombstone of the user comes at or after an offset within the time."""
    async with _consumer([tp], client_kwargs) as consumer:
        consumer.seek(tp, offset)
        try:
            async with asyncio.timeout(wait_seconds):
                while True:
                    record = await consumer.getone(tp)
                    if record.key == user and record.value is None:
                        return True
        except TimeoutError:
            return False


async def _records(tps: Sequence[TopicPartition], client_kwargs: Mapping[str, Any]) -> AsyncIterator[Any]:
    ends = await true_end_offsets(_servers(client_kwargs), tps, client_kwargs=client_kwargs)
    async with _consumer(tps, client_kwargs) as consumer:
        await consumer.seek_to_beginning(*tps)
        quiet = 0.0
        while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            batches = await consumer.getmany(*tps, timeout_ms=_POLL_MS)
            quiet = 0.0 if batches else quiet + _POLL_MS / 1000
            if quiet > _STALL_SECONDS:
                raise SearchStalledError(tps[0].topic)
            for batch in batches.values():
                for record in batch:
                    yield record


@asynccontextmanager
async def _consumer(
    tps: Sequence[TopicPartition], client_kwargs: Mapping[str, Any]
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(enable_auto_commit=False, **client_kwargs)
    await consumer.start()
    try:
        consumer.assign(list(tps))
        yield consumer
    finally:
        await consumer.stop()


def _servers(client_kwargs: Mapping[str, Any]) -> str:
    return str(client_kwargs["bootstrap_servers"])


def stored_on_disk(directory: Path, table: str, user: bytes) -> int:
    """Partitions of a RocksDB table on this machine that hold the user; the worker may be running."""
    partitions = (directory / table).glob("[0-9]*") if (directory / table).is_dir() else ()
    return sum(holds_key(partition, user) for partition in partitions)
