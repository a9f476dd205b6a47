"""Records of the behaviour topics into an event archive, up to the ends that the topics have now.

No group is joined and nothing is committed: where to go on after a kill is said by the archive itself. Its files are written
whole or not at all, so that no record is lost or kept twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from stream.archive.description import Description, write_description
from stream.archive.files import FILE_PATTERN, ArchiveWriter, Place
from stream.clock import Clock
from stream.embedded.tansu_highwater import true_end_offsets
from stream.errors import ConfigurationError, TransientError
from stream.events import BEHAVIOUR_TOPICS

_POLL_MS: Final = 500
#: Records are there and do not come: the broker is as good as down.
_STALL_SECONDS: Final = 30.0


class RecordOrder(NamedTuple):
    """What is to be recorded."""

    topics: tuple[str, ...] = BEHAVIOUR_TOPICS
    #: Only records with an earlier timestamp, UTC ms; None: all there are now.
    until_ms: int | None = None
    #: End after so many; None: at the ends.
    max_events: int | None = None
    name: str = "recorded events"


async def record_topics(
    directory: Path, order: RecordOrder, client_kwargs: Mapping[str, Any], clock: Clock
) -> Description:
    """Record into a new archive, or go on with one.

    Raises:
        ConfigurationError: If a topic is missing, is no behaviour topic, or the directory holds something else.
        TransientError: If the brokers can't be read now; run it again, it goes on.
    """
    unknown = sorted(set(order.topics) - set(BEHAVIOUR_TOPICS))
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]} is no behaviour topic; they are {', '.join(BEHAVIOUR_TOPICS)}"
        )
    with ArchiveWriter(directory, goes_on=True) as writer:
        count = 0
        async with aclosing(_records(order, writer, client_kwargs, clock)) as records:
            async for record in records:
                _keep(writer, record)
                count += 1
                if count == order.max_events:
                    break
    described = Description(
        name=order.name,
        sha256=_digest(directory),
        events=writer.accepted,
        rejects=dict(writer.rejects.most_common()),
    )
    write_description(directory, described)
    return described


def _keep(writer: ArchiveWriter, record: ConsumerRecord[bytes, bytes]) -> None:
    place = Place(record.topic, record.partition, record.offset)
    value = record.value
    if value is None:
        return  # as in FOLD: a tombstone says nothing
    error = writer.add(place, record.timestamp, value)
    if error is not None:
        writer.reject(place, error, value, record.timestamp)


async def _records(
    order: RecordOrder, writer: ArchiveWriter, client_kwargs: Mapping[str, Any], clock: Clock
) -> AsyncGenerator[ConsumerRecord[bytes, bytes], None]:
    servers = str(client_kwargs["bootstrap_servers"])
    consumer = AIOKafkaConsumer(group_id=None, enable_auto_commit=False, **client_kwargs)
    try:
        await consumer.start()
        tps = await _partitions(consumer, order.topics, servers)
        ends = await true_end_offsets(servers, tps, client_kwargs=client_kwargs)
        begins = await consumer.beginning_offsets(tps)
        starts = {tp: max(begins[tp], writer.next_offsets.get((tp.topic, tp.partition), 0)) for tp in tps}
        waiting = sorted(tp for tp in tps if starts[tp] < ends[tp])
        consumer.assign(waiting)
        for tp in waiting:
            consumer.seek(tp, starts[tp])
        came_at = clock.monotonic_seconds()
        while waiting := await _unread(consumer, waiting, ends):
            for tp, records in (await consumer.getmany(*waiting, timeout_ms=_POLL_MS)).items():
                came_at = clock.monotonic_seconds()
                for record in records:
                    if record.offset < ends[tp] and _is_wanted(record, order):
                        yield record
            if clock.monotonic_seconds() - came_at > _STALL_SECONDS:
                raise TransientError(
                    f"nothing came for {_STALL_SECONDS:g} s from {servers}, and {len(waiting)} partitions were not read to "
                    "their ends: check the brokers' health, then run it again, it goes on"
                )
    except (KafkaError, TimeoutError) as error:
        raise TransientError(
            f"the Kafka at {servers} can't be read now ({error!r}); check that it runs and the settings, then run it again"
        ) from error
    finally:
        await consumer.stop()


def _is_wanted(record: ConsumerRecord[bytes, bytes], order: RecordOrder) -> bool:
    return order.until_ms is None or record.timestamp < order.until_ms


async def _partitions(
    consumer: AIOKafkaConsumer, topics: Sequence[str], servers: str
) -> list[TopicPartition]:
    # All topics at once: some brokers create a topic that is asked for by its name.
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - the consumer has no other way
    found = []
    for topic in topics:
        partitions = cluster.partitions_for_topic(topic)
        if not partitions:
            raise ConfigurationError(
                f"the Kafka at {servers} has no topic {topic}: name others with --topic, or create it with "
                "`interestflow topics create`"
            )
        found += [TopicPartition(topic, partition) for partition in sorted(partitions)]
    return found


async def _unread(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], ends: Mapping[TopicPartition, int]
) -> list[TopicPartition]:
    async with asyncio.timeout(_STALL_SECONDS):  # a position of a broker that is gone never comes
        return [tp for tp in partitions if await consumer.position(tp) < ends[tp]]


def _digest(directory: Path) -> str:
    """SHA-256 over the files."""
    whole = sha256()
    for path in sorted(directory.glob(FILE_PATTERN)):
        whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()
