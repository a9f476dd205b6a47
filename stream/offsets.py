"""Committed offsets and log ends, asked of the broker: what a client believes of itself proves nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream.compacted import EndOffsets
from stream.errors import TransientError
from stream.stall import Place, Position


class OffsetsUnknownError(TransientError):
    """The group's coordinator did not tell the committed offsets."""

    def __init__(self, group_id: str, missing: Sequence[TopicPartition]) -> None:
        listed = ", ".join(f"{topic}-{partition}" for topic, partition in missing)
        super().__init__(
            f"the coordinator of group {group_id} told no offset of {listed}: it may be loading; asked again"
        )


class GroupOffsets:
    """Asks for a consumer group's offsets over connections of its own, made at the first question.

    Args:
        group_id: Of the consumer group.
        client_kwargs: For aiokafka clients.
        end_offsets: How the ends are found.
    """

    def __init__(self, group_id: str, client_kwargs: Mapping[str, Any], end_offsets: EndOffsets) -> None:
        self._group_id = group_id
        self._client_kwargs = client_kwargs
        self._end_offsets = end_offsets
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def positions(self, places: Sequence[Place]) -> dict[Place, Position]:
        """The committed offset (0 if there is none) and the end of each partition.

        Raises:
            aiokafka.errors.KafkaError: The broker does not tell.
            OffsetsUnknownError: The group's coordinator does not.
        """
        admin, consumer = await self._connected()
        partitions = [TopicPartition(*place) for place in places]
        committed = await admin.list_consumer_group_offsets(self._group_id, partitions=partitions)
        if missing := [tp for tp in partitions if tp not in committed]:
            raise OffsetsUnknownError(self._group_id, missing)
        # The ends come last: an offset committed in between must not look like one beyond the end.
        ends = await self._end_offsets(consumer, partitions)
        return {
            (tp.topic, tp.partition): Position(max(committed[tp].offset, 0), ends[tp]) for tp in partitions
        }

    async def positions_once(self, places: Sequence[Place]) -> dict[Place, Position]:
        """As ``positions``, for a single question: disconnected afterwards."""
        try:
            return await self.positions(places)
        finally:
            await self.close()

    async def close(self) -> None:
        """Disconnect; the next question connects again."""
        admin, self._admin = self._admin, None
        consumer, self._consumer = self._consumer, None
        if admin is not None:
            await admin.close()
        if consumer is not None:
            await consumer.stop()

    async def _connected(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        if self._admin is None or self._consumer is None:
            await self.close()
            self._admin = AIOKafkaAdminClient(**self._client_kwargs)
            await self._admin.start()
            self._consumer = AIOKafkaConsumer(group_id=None, enable_auto_commit=False, **self._client_kwargs)
            await self._consumer.start()
        return self._admin, self._consumer
