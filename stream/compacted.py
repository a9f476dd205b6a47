"""A compacted topic as a table that every worker reads whole: no group, from the beginning, then ever on.

For topics that this service does not own (``ads.campaigns``) or that every worker needs all of
(``catalog.texts``).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.clock import Clock, SystemClock
from stream.errors import TransientError

#: Takes key, value, partition and offset of one record. It deals with bad records itself: what it raises stops
#: the reading at this record until it raises no more.
OnRecord = Callable[[bytes | None, bytes | None, int, int], None]
#: The offset after the last record of each partition, as of now.
EndOffsets = Callable[[AIOKafkaConsumer, Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]

_FIRST_BACK_OFF_SECONDS: Final = 0.5
_LONGEST_BACK_OFF_SECONDS: Final = 30.0
#: Connecting, finding the ends and the first positions; a broker that is slower is as good as down.
_OPEN_SECONDS: Final = 60.0
_POLL_MS: Final = 500
#: Bounds how long one round keeps the event loop: about 10 ms with a callback of 5 µs.
_POLL_RECORDS: Final = 2000
#: How long a quiet topic is believed before its end is asked for again.
_CHECK_SECONDS: Final = 30.0

_log = structlog.get_logger(__name__)


class TopicMissingError(TransientError):
    """The topic is not there yet."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(
            f"topic {topic} does not exist or has no partitions; create it (`interestflow topics create`), it is "
            "looked for again and again"
        )


class ReadingStalledError(TransientError):
    """Records are there and do not come."""

    def __init__(self, topic: str, partition: int, position: int, end_offset: int) -> None:
        self.topic = topic
        self.partition = partition
        super().__init__(
            f"{topic} partition {partition} stands at offset {position} although it reached {end_offset} more than "
            f"{_CHECK_SECONDS:g} s ago; the connection is made anew"
        )


class TopicRewoundError(TransientError):
    """The topic ends before what was read of it."""

    def __init__(self, topic: str, partition: int, end_offset: int, position: int) -> None:
        self.topic = topic
        self.partition = partition
        super().__init__(
            f"{topic} partition {partition} ends at offset {end_offset}, but was read up to {position}: it was made "
            "anew and is read from its beginning; restart to forget records that are not in it any more"
        )


async def latest_offsets(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """The ends as ListOffsets gives them: right on Apache Kafka."""
    ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends


class CompactedTopicReader:
    """Calls ``on_record`` for every record of a topic, in order per partition, each at least once.

    Errors are logged, kept in :attr:`last_error` and tried again with a growing pause, for as long as it takes,
    from where each partition stood.

    Args:
        topic: Its partitions are found, also ones that are added later.
        client_kwargs: For aiokafka: ``bootstrap_servers`` and whatever the connection needs.
        on_record: Runs on the event loop, so it must be quick.
        end_offsets: How the ends are found.
        clock: Waits between tries.
    """

    def __init__(
        self,
        topic: str,
        client_kwargs: Mapping[str, Any],
        on_record: OnRecord,
        *,
        end_offsets: EndOffsets = latest_offsets,
        clock: Clock | None = None,
    ) -> None:
        self.topic = topic
        #: Set once the topic was read to the end that it had when reading began; never cleared.
        self.ready = asyncio.Event()
        #: What went wrong last, None while reading goes well.
        self.last_error: Exception | None = None
        self._client_kwargs = dict(client_kwargs)
        self._on_record = on_record
        self._end_offsets = end_offsets
        self._clock = clock or SystemClock()
        self._next_offsets: dict[TopicPartition, int] = {}
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it is started and reading goes well; false between an error and the next success."""
        return self._task is not None and not self._task.done() and self.last_error is None

    async def start(self) -> None:
        """Begin to read; returns at once. Wait for :attr:`ready`.

        Raises:
            RuntimeError: If it runs already.
        """
        if self._task is not None:
            raise RuntimeError(f"the reader of {self.topic} is started already; stop it first")
        self._task = asyncio.create_task(self._run(), name=f"read {self.topic}")

    async def stop(self) -> None:
        """End the reading and close the connection; harmless if it is not running."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except Exception as error:  # noqa: BLE001 - the top of the reader: any end of it would go unseen
                self.last_error = error
            seconds = min(_FIRST_BACK_OFF_SECONDS * 2.0**self._failures, _LONGEST_BACK_OFF_SECONDS)
            self._failures = min(self._failures + 1, 16)  # 2^16 is far beyond the longest back-off
            _log.warning(
                "compacted_read_failed", topic=self.topic, error=repr(self.last_error), retry_seconds=seconds
            )
            await self._clock.sleep(seconds)

    async def _session(self) -> None:
        """Read over one connection until something fails."""
        consumer = AIOKafkaConsumer(
            group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", **self._client_kwargs
        )
        # A pattern, for naming a topic that is missing makes brokers that create topics create it.
        consumer.subscribe(pattern=f"^{re.escape(self.topic)}$")
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await consumer.start()
                ends = await self._open(consumer)
            await self._read_to(consumer, ends)
            self.last_error, self._failures = None, 0
            self.ready.set()
            await self._follow(consumer, ends)
        finally:
            await consumer.stop()

    async def _open(self, consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, int]:
        """Put every partition where it stood and give the ends."""
        partitions = sorted(consumer.assignment())
        if not partitions:
            raise TopicMissingError(self.topic)
        ends = await self._end_offsets(consumer, partitions)
        for partition in partitions:
            if self._next_offsets.get(partition, 0) > ends[partition]:
                del self._next_offsets[partition]
            if partition in self._next_offsets:
                consumer.seek(partition, self._next_offsets[partition])
        return ends

    async def _read_to(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        checked = self._clock.monotonic_seconds()
        while await _behind(consumer, ends) is not None:
            if await self._round(consumer):
                checked = self._clock.monotonic_seconds()
            elif self._clock.monotonic_seconds() - checked > _CHECK_SECONDS:
                await self._require(consumer, ends)

    async def _follow(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        checked = self._clock.monotonic_seconds()
        while True:
            await self._round(consumer)
            if self._clock.monotonic_seconds() - checked > _CHECK_SECONDS:
                # What was there at the last check must have come by now.
                await self._require(consumer, ends)
                ends = await self._end_offsets(consumer, sorted(consumer.assignment()))
                self._require_not_rewound(ends)
                checked = self._clock.monotonic_seconds()

    async def _round(self, consumer: AIOKafkaConsumer) -> bool:
        """Hand on what has come; whether anything has."""
        batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        for partition, records in batches.items():
            for record in records:
                self._on_record(record.key, record.value, record.partition, record.offset)
                self._next_offsets[partition] = record.offset + 1
        return bool(batches)

    async def _require(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        behind = await _behind(consumer, ends)
        if behind is not None:
            position = await consumer.position(behind)
            raise ReadingStalledError(self.topic, behind.partition, position, ends[behind])

    def _require_not_rewound(self, ends: Mapping[TopicPartition, int]) -> None:
        for partition, end_offset in ends.items():
            position = self._next_offsets.get(partition, 0)
            if position > end_offset:  # not every broker says that such a position is out of range
                raise TopicRewoundError(self.topic, partition.partition, end_offset, position)


async def _behind(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> TopicPartition | None:
    """A partition that has not been read to its end, or None; positions also pass what compaction left out."""
    async with asyncio.timeout(
        _OPEN_SECONDS
    ):  # it waits for ever for the first offset of a broker that is gone
        for partition, end_offset in ends.items():
            if await consumer.position(partition) < end_offset:
                return partition
    return None
