"""Made-up behaviour on a broker, and the state that the pure fold says it must leave."""

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from stream.partitioner import partitioner
from stream.state import UserState
from stream.window import WindowPolicy
from tests.reference_fold import ReferenceFold

PARTITIONS = 4
START_MS = 1_700_000_000_000
_TOPICS = {"click": "behaviour.click", "view_item": "behaviour.browse", "purchase": "behaviour.purchase"}


class Fed(NamedTuple):
    """A record as it was produced."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    timestamp_ms: int


def events(count: int, *, users: int = 200, seed: int = 7) -> list[Fed]:
    """So many events, one a minute, of so many users, on their right partitions."""
    chance = random.Random(seed)
    home = partitioner("murmur2", PARTITIONS)
    fed = []
    for number in range(count):
        kind = chance.choice(list(_TOPICS))
        user = f"user-{chance.randrange(users):05d}"
        at_ms = START_MS + number * 60_000
        body = {
            "event_id": f"event-{number}",
            "event_type": kind,
            "user_id": user,
            "occurred_at_ms": at_ms - chance.randrange(3_600_000),
            "items": [
                {
                    "item_id": f"item-{chance.randrange(300)}",
                    "item_name": f"product {chance.randrange(50)}",
                    "item_category": "department",
                    "item_category2": f"category {chance.randrange(20)}",
                }
            ],
        }
        fed.append(Fed(_TOPICS[kind], home(user.encode()), user.encode(), orjson.dumps(body), at_ms))
    return fed


async def produce(bootstrap_servers: str, fed: Iterable[Fed]) -> None:
    """Put them on the broker, in order per partition."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, linger_ms=5)
    await producer.start()
    try:
        pending = [
            await producer.send(item.topic, item.value, item.key, item.partition, item.timestamp_ms)
            for item in fed
        ]
        for future in pending:
            await future
    finally:
        await producer.stop()


def expected_states(fed: Sequence[Fed], policy: WindowPolicy) -> dict[bytes, UserState]:
    """What one pure fold over all of it gives.

    Each record is folded once; the order between topics is that of ``fed``, a worker's may differ.
    """
    reference = ReferenceFold(policy)
    offsets: dict[tuple[str, int], int] = {}
    for item in fed:
        offset = offsets[item.topic, item.partition] = offsets.get((item.topic, item.partition), -1) + 1
        reference.fold((item.topic, item.partition, offset), item.timestamp_ms, item.key, item.value)
    return reference.states


def essence(state: UserState) -> tuple[object, ...]:
    """What must be equal whatever order the topics were read in."""
    profile = state.profile
    rows = sorted(
        (category, profile.purchases[row], profile.first[row], profile.last[row])
        for row, category in enumerate(profile.categories)
    )
    return (
        state.revision,
        sorted(state.applied.items()),
        state.orders.count,
        state.window.behaviours(),
        rows,
    )
