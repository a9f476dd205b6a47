"""Events with an id each, by chance from a seed, at a pace."""

import asyncio
import random
from collections.abc import Iterator
from typing import Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.clock import SystemClock
from stream.partitioner import partitioner
from tests.behaviour_feed import PARTITIONS, START_MS, Fed
from tests.reference_fold import Place

#: Virtual time from one event to the next: a million of them stay inside the window and the grace.
STEP_MS: Final = 1_000
_TOPICS: Final = {
    "click": "behaviour.click",
    "view_item": "behaviour.browse",
    "purchase": "behaviour.purchase",
}
_TICK_SECONDS: Final = 0.05
#: The feeder outlasts every fault: what it produced is in the log in the end.
_PATIENCE_MS: Final = 180_000
_clock = SystemClock()


def shoppers(seed: int, users: int = 10_000, *, bad_share: float = 0.01) -> Iterator[Fed]:
    """Events without end; a share of them is no JSON."""
    chance = random.Random(seed)
    home = partitioner("murmur2", PARTITIONS)
    number = 0
    while True:
        kind = chance.choice(list(_TOPICS))
        user = f"user-{chance.randrange(users):05d}"
        at_ms = START_MS + number * STEP_MS
        body = {
            "event_id": f"{seed}-{number}",
            "event_type": kind,
            "user_id": user,
            "occurred_at_ms": at_ms - chance.randrange(60_000),
            "items": [
                {
                    "item_id": f"item-{chance.randrange(300)}",
                    "item_name": f"product {chance.randrange(50)}",
                    "price": 9.5,
                    "item_category": "department",
                    "item_category2": f"category {chance.randrange(20)}",
                }
            ],
        }
        value = orjson.dumps(body)
        if chance.random() < bad_share:
            value = value[:-1]
        yield Fed(_TOPICS[kind], home(user.encode()), user.encode(), value, at_ms)
        number += 1


class Feeder:
    """Sends events at a rate until it is told to stop; each once, each partition's in order."""

    def __init__(self, bootstrap_servers: str, source: Iterator[Fed], events_per_second: float) -> None:
        self._servers = bootstrap_servers
        self._source = source
        #: May be changed while it runs.
        self.events_per_second = events_per_second
        #: Places of the events that all replicas acknowledged.
        self.acknowledged: set[Place] = set()
        #: Wall clock (ms) of the last event sent of each key.
        self.sent_at_ms: dict[bytes, int] = {}
        #: Events that the brokers never acknowledged; they may be in the log or not.
        self.given_up = 0
        #: All is sent, and acknowledged or given up.
        self.ended = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Send nothing new; ``run`` returns when all is acknowledged."""
        self._stopping.set()

    async def run(self) -> None:
        """Send until stopped."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            request_timeout_ms=_PATIENCE_MS,
        )
        await producer.start()
        try:
            waiting: set[asyncio.Future[None]] = set()
            owed, seen = 0.0, _clock.monotonic_seconds()
            while not self._stopping.is_set():
                now = _clock.monotonic_seconds()
                # A halted broker is no debt: what could not be sent meanwhile does not come as a flood.
                owed, seen = min(owed + (now - seen) * self.events_per_second, self.events_per_second), now
                for _ in range(int(owed)):
                    owed -= 1
                    fed = next(self._source)
                    self.sent_at_ms[fed.key] = _clock.wall_ms()
                    task = asyncio.ensure_future(self._acknowledge(await self._send(producer, fed)))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                await asyncio.sleep(_TICK_SECONDS)
            await asyncio.gather(*waiting)
        finally:
            await producer.stop()
            self.ended.set()

    @staticmethod
    async def _send(producer: AIOKafkaProducer, fed: Fed) -> "asyncio.Future[object]":
        future: asyncio.Future[object] = await producer.send(
            fed.topic, fed.value, fed.key, fed.partition, fed.timestamp_ms
        )
        return future

    async def _acknowledge(self, sent: "asyncio.Future[object]") -> None:
        try:
            told = await sent
        except KafkaError:
            self.given_up += 1
        else:
            self.acknowledged.add((told.topic, told.partition, told.offset))  # type: ignore[attr-defined]
