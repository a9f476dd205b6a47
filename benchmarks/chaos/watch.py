"""Looks at the group's committed offsets all through a run."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from benchmarks.chaos.progress import Progress
from stream.clock import SystemClock
from stream.events import BEHAVIOUR_TOPICS
from tests.behaviour_feed import PARTITIONS

_LOOK_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 5.0
_clock = SystemClock()


async def watch(bootstrap_servers: str, group: str, progress: Progress) -> None:
    """Look until cancelled; a broker that is away is asked again, by new clients."""
    while True:
        # Neither is a member of the group: a member that lost its coordinator can wait for it as it is closed.
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
        try:
            with suppress(KafkaError, OSError, TimeoutError):
                await _answer(admin.start())
                await _answer(consumer.start())
                while True:
                    await _look(admin, consumer, group, progress)
                    await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for closing in (admin.close(), consumer.stop()):
                with suppress(KafkaError, OSError, TimeoutError):
                    await _answer(closing)
        await asyncio.sleep(_LOOK_SECONDS)


async def _look(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, group: str, progress: Progress
) -> None:
    tps = [TopicPartition(topic, number) for topic in BEHAVIOUR_TOPICS for number in range(PARTITIONS)]
    ends = await _answer(consumer.end_offsets(tps))
    committed = await _answer(admin.list_consumer_group_offsets(group))
    offsets = {tp: max(told.offset, 0) for tp, told in committed.items() if tp in ends}
    progress.look(_clock.monotonic_seconds(), offsets, ends)


async def _answer(asked: Coroutine[Any, Any, Any]) -> Any:
    """What a client answers; it is given up, not waited for, if it takes too long."""
    task = asyncio.ensure_future(asked)
    done, _ = await asyncio.wait({task}, timeout=_ANSWER_SECONDS)
    if not done:
        task.cancel()
        raise TimeoutError
    return task.result()


@contextmanager
def watched(bootstrap_servers: str, group: str) -> Iterator[Progress]:
    """What a watch sees, from a thread of its own: for a run that has no event loop."""
    progress, loop, ended = Progress(), asyncio.new_event_loop(), asyncio.Event()

    async def look() -> None:
        watching = asyncio.create_task(watch(bootstrap_servers, group, progress))
        await ended.wait()
        watching.cancel()
        await asyncio.wait({watching})

    thread = threading.Thread(target=lambda: loop.run_until_complete(look()), name="watch")
    thread.start()
    try:
        yield progress
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
