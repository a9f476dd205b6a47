"""The dead-letter topic as it stands: read whole without a group, and deleted from its beginning."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from stream.clock import Clock
from stream.dlq.letters import Letter, Place, is_marker, marked_place, read_letter
from stream.embedded.tansu_highwater import true_end_offsets
from stream.errors import ConfigurationError, TransientError
from stream.events import DEAD_LETTER_TOPIC

_POLL_MS: Final = 500
#: Records are there and do not come: the broker is as good as down.
_STALL_SECONDS: Final = 30.0


class LetterLog:
    """The topic up to the end that it had when it was opened; each call of a method reads it anew."""

    def __init__(
        self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], servers: str, clock: Clock
    ) -> None:
        self._consumer = consumer
        self._ends = ends
        self._servers = servers
        self._clock = clock

    async def replayed(self) -> frozenset[Place]:
        """The letters that have a marker."""
        places = {place async for record in self._records() if (place := marked_place(record))}
        return frozenset(places)

    async def letters(self) -> AsyncIterator[Letter]:
        """All letters, in order of each partition."""
        async for record in self._records():
            if not is_marker(record):
                yield read_letter(record)

    async def _records(self) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
        waiting = sorted(self._ends)
        if not waiting:
            return
        self._consumer.assign(waiting)
        try:
            await self._consumer.seek_to_beginning(*waiting)
            came_at = self._clock.monotonic_seconds()
            while waiting := await self._unread(waiting):
                fetched = await self._consumer.getmany(*waiting, timeout_ms=_POLL_MS)
                for tp, records in fetched.items():
                    came_at = self._clock.monotonic_seconds()
                    for record in records:
                        if record.offset < self._ends[tp]:
                            yield record
                self._require_coming(came_at)
        except (KafkaError, TimeoutError) as error:
            raise TransientError(f"{_unusable(self._servers)}: {error!r}") from error

    async def _unread(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        async with asyncio.timeout(_STALL_SECONDS):  # a position of a broker that is gone never comes
            return [tp for tp in partitions if await self._consumer.position(tp) < self._ends[tp]]

    def _require_coming(self, came_at: float) -> None:
        if self._clock.monotonic_seconds() - came_at > _STALL_SECONDS:
            raise TransientError(
                f"nothing of {DEAD_LETTER_TOPIC} came for {_STALL_SECONDS:g} s from {self._servers}, and it was not read "
                "to its end: check the brokers' health, then try again"
            )


@asynccontextmanager
async def open_log(client_kwargs: Mapping[str, Any], clock: Clock) -> AsyncIterator[LetterLog]:
    """The dead-letter topic of a Kafka.

    Raises:
        ConfigurationError: If it has none.
        TransientError: If it can't be read now.
    """
    servers = str(client_kwargs["bootstrap_servers"])
    consumer = AIOKafkaConsumer(group_id=None, enable_auto_commit=False, **client_kwargs)
    try:
        await consumer.start()
        # All topics at once: some brokers create a topic that is asked for by its name.
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - the consumer has no other way
        partitions = cluster.partitions_for_topic(DEAD_LETTER_TOPIC)
        if not partitions:
            raise ConfigurationError(
                f"the Kafka at {servers} has no topic {DEAD_LETTER_TOPIC}: create it with `interestflow topics create`"
            )
        tps = [TopicPartition(DEAD_LETTER_TOPIC, partition) for partition in sorted(partitions)]
        ends = await true_end_offsets(servers, tps, client_kwargs=client_kwargs)
        begins = await consumer.beginning_offsets(tps)
        holding = {tp: end for tp, end in ends.items() if end > begins[tp]}
        yield LetterLog(consumer, holding, servers, clock)
    except KafkaError as error:
        raise TransientError(f"{_unusable(servers)}: {error!r}") from error
    finally:
        await consumer.stop()


async def delete_before(client_kwargs: Mapping[str, Any], before: Mapping[int, int]) -> None:
    """Delete the letters of each partition below an offset.

    Raises:
        ConfigurationError: If the broker does not.
    """
    servers = client_kwargs["bootstrap_servers"]
    admin = AIOKafkaAdminClient(**client_kwargs)
    try:
        await admin.start()
        wanted = {
            TopicPartition(DEAD_LETTER_TOPIC, partition): RecordsToDelete(before_offset=offset)
            for partition, offset in before.items()
        }
        await admin.delete_records(wanted)
    except KafkaError as error:
        raise ConfigurationError(
            f"the Kafka at {servers} did not delete records of {DEAD_LETTER_TOPIC} ({error!r}): it must know "
            "DeleteRecords (Apache Kafka from 0.11 on; the embedded broker does not), the topic must have "
            "cleanup.policy=delete, and the user needs the right Delete on it"
        ) from error
    finally:
        await admin.close()


def _unusable(servers: str) -> str:
    return (
        f"the Kafka at {servers} can't be read now; check that it runs, INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS and the "
        "security settings"
    )
