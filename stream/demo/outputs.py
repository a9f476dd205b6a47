"""Reads what the service publishes, as any consumer would, and keeps the latest."""

import asyncio
from collections import Counter, deque
from typing import Any, Final, Self

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.clock import Clock
from stream.errors import TransientError
from stream.events import DEAD_LETTER_TOPIC, DECISIONS_TOPIC, UPDATES_TOPIC
from stream.short_fetches import FETCH_MAX_WAIT_MS

TOPICS: Final = (UPDATES_TOPIC, DECISIONS_TOPIC, DEAD_LETTER_TOPIC)
_KEPT: Final = 20
_POLL_MS: Final = 200


class Outputs:
    """Counts by topic and the latest messages; a consumer without a group, so it disturbs nobody."""

    def __init__(self, bootstrap_servers: str, partitions: int, clock: Clock) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._partitions = partitions
        self._clock = clock
        self._latest: dict[str, deque[bytes]] = {topic: deque(maxlen=_KEPT) for topic in TOPICS}
        self.counts: Counter[str] = Counter()
        #: Monotonic seconds at which the first interest update arrived.
        self.first_update_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read from the beginning on."""
        self._reading = asyncio.create_task(self._read(), name="read outputs")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def latest(self, topic: str, most: int) -> list[dict[str, Any]]:
        """The last messages, newest first; a tombstone has none."""
        kept = list(self._latest[topic])[::-1]
        return [orjson.loads(value) for value in kept[:most]]

    def require_reading(self) -> None:
        """Pass if it reads.

        Raises:
            TransientError: The broker let it down.
        """
        if self._reading is not None and self._reading.done():
            cause = None if self._reading.cancelled() else self._reading.exception()
            raise TransientError(
                f"the demo can't read its outputs from {self._bootstrap_servers} any more: {cause!r}; start it again"
            ) from cause

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            group_id=None,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        )
        consumer.assign(
            [TopicPartition(topic, partition) for topic in TOPICS for partition in range(self._partitions)]
        )
        await consumer.start()
        try:
            while True:
                for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                    self._take(partition.topic, [record.value for record in records])
        finally:
            await consumer.stop()

    def _take(self, topic: str, values: list[bytes | None]) -> None:
        self.counts[topic] += len(values)
        self._latest[topic].extend(value for value in values if value is not None)
        if topic == UPDATES_TOPIC and self.first_update_at is None:
            self.first_update_at = self._clock.monotonic_seconds()
