"""Looks at the group's committed offsets all through a run."""

import asyncio
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from benchmarks.chaos.progress import Progress
from stream.clock import SystemClock
from stream.events import BEHAVIOUR_TOPICS
from tests.behaviour_feed import PARTITIONS

_LOOK_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 5.0
_clock = SystemClock()


async def watch(bootstrap_servers: str, group: str, progress: Progress) -> None:
    """Look until cancelled; a broker that is away is asked again."""
    tps = [TopicPartition(topic, number) for topic in BEHAVIOUR_TOPICS for number in range(PARTITIONS)]
    while True:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
        )
        with suppress(KafkaError, TimeoutError):
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await consumer.start()
                consumer.assign(tps)
                while True:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        ends = await consumer.end_offsets(tps)
                        committed = dict(
                            zip(tps, await asyncio.gather(*map(consumer.committed, tps)), strict=True)
                        )
                    now = _clock.monotonic_seconds()
                    progress.look(now, {tp: offset or 0 for tp, offset in committed.items()}, ends)
                    await asyncio.sleep(_LOOK_SECONDS)
            finally:
                # A client that lost its broker in the middle of a request may wait for the answer as it stops.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await consumer.stop()
        await asyncio.sleep(_LOOK_SECONDS)
