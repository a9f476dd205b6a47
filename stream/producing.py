"""Our Kafka producer: its records leave only while the lease holds, and it can be given up with all that it has."""

import asyncio
from itertools import chain
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.protocol.produce import ProduceRequest

from stream.lease import Lease

#: A producer that is given up gets so long to end a request whose connection was closed.
_CONNECTING_SECONDS: Final = 0.5


def watch(client: AIOKafkaClient, requests: set[asyncio.Task[Any]], lease: Lease | None) -> None:
    """Let records leave only while the lease holds, and know what is held or under way.

    The lease is looked at last of all, with nothing to wait for after it.
    """
    send = client.send

    async def send_records(node_id: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, ProduceRequest):
            return await send(node_id, request, **options)
        task = asyncio.current_task()
        assert task is not None
        requests.add(task)
        try:
            if lease is not None:
                await client.ready(node_id)  # connects where it must, which takes time
                await lease.held()
            return await send(node_id, request, **options)
        finally:
            requests.discard(task)

    client.send = send_records


async def end_at_once(producer: AIOKafkaProducer, requests: set[asyncio.Task[Any]]) -> None:
    """Close a producer without sending what it holds; its own ``stop`` would send that first, however long it takes.

    Whoever waits for what it holds is cancelled. A failure would be told as one that nobody looked at where nobody waits
    any more, and would hide the last words of a worker that ends.
    """
    # Private, for there is no other way; tests/unit/test_faust_private_names.py looks at them.
    task = producer._sender.sender_task  # noqa: SLF001
    task.cancel()
    await producer.client.close()  # else it would wait for the answer to a request under way
    # The task ends one of several brokers' requests with it; the others would go on, connect anew and arrive.
    under_way = list(requests)
    for request in under_way:
        request.cancel()
    await asyncio.wait([task, *under_way], timeout=_CONNECTING_SECONDS)
    while not task.done():
        task.cancel()  # what still waits for metadata, too
        await asyncio.wait([task])
    _cancel_all(producer._message_accumulator)  # noqa: SLF001
    await producer.stop()


def _cancel_all(accumulator: MessageAccumulator) -> None:
    accumulator._closed = True  # noqa: SLF001
    under_way = accumulator._pending_batches  # noqa: SLF001
    # One that waits for its next try is not under way, yet takes itself out of them when it ends.
    under_way.update(chain.from_iterable(accumulator._batches.values()))  # noqa: SLF001
    for batch in under_way:
        batch.future.cancel()
        batch._drain_waiter.cancel()  # noqa: SLF001
