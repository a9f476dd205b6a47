"""A broker of either kind, emptied for each test."""

import asyncio
from collections.abc import Collection
from typing import Literal, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from stream.topic_specs import service_topics
from stream.topics import create_topics
from tests.behaviour_feed import PARTITIONS


class Broker(NamedTuple):
    """Where it listens and which it is."""

    kind: Literal["tansu", "kafka"]
    bootstrap_servers: str


async def recreate_topics(
    broker: Broker, app_id: str, *, virtual_time: bool = True, partitions: int = PARTITIONS
) -> None:
    """Delete and make anew the service's topics: inputs have the same names in every test."""
    specs = service_topics(app_id, partitions, virtual_time=virtual_time)
    await delete_topics(broker.bootstrap_servers, [spec.name for spec in specs])
    await create_topics(broker.bootstrap_servers, specs)


async def delete_topics(bootstrap_servers: str, names: Collection[str]) -> None:
    """Delete those of them that are there, and wait until they are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        existing = set(await admin.list_topics()) & set(names)
        if existing:
            await admin.delete_topics(sorted(existing))
            while existing & set(await admin.list_topics()):
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
