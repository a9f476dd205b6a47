"""True end offsets of partitions, also on Tansu, whose ListOffsets(latest) is wrong after a batch of records.

It answers the base offset of the last batch plus one: after batches of 1, 5 and 100 records it says 7 where
106 is right. Faust recovers a table up to the offset it is told, so the table would come back partly empty.
A fetch tells the true one, on Tansu and on Kafka alike.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from stream.embedded.broker import TANSU_CLUSTER_ID
from stream.errors import TransientError

_FETCH_POLL_MS = 100


async def true_end_offsets(
    bootstrap_servers: str,
    partitions: Iterable[TopicPartition],
    *,
    client_kwargs: Mapping[str, Any] | None = None,
    timeout_seconds: float = 30.0,
) -> dict[TopicPartition, int]:
    """The offset that the next record of each partition will get; 0 for one that never had a record.

    Reads the last batch of each partition that holds records, with a consumer of its own and without a group.

    Args:
        bootstrap_servers: `host:port`, several separated by commas.
        partitions: of which.
        client_kwargs: further arguments of aiokafka clients, such as security.
        timeout_seconds: for all of them together.

    Raises:
        TransientError: the broker did not tell all of them in time.
    """
    wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
    if not wanted:
        return {}
    arguments = {**(client_kwargs or {}), "bootstrap_servers": bootstrap_servers, "enable_auto_commit": False}
    consumer = AIOKafkaConsumer(**arguments)
    try:
        async with asyncio.timeout(timeout_seconds):
            await consumer.start()
            return await _end_offsets(consumer, wanted)
    except (KafkaError, TimeoutError) as error:
        listed = ", ".join(f"{topic}-{partition}" for topic, partition in wanted)
        raise TransientError(
            f"the Kafka at {bootstrap_servers} did not tell the end offsets of {listed} within {timeout_seconds:g} s "
            f"({error!r}): check that it runs and that the topics exist"
        ) from error
    finally:
        await consumer.stop()


async def _end_offsets(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition]
) -> dict[TopicPartition, int]:
    told: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    # Where begin and end are equal nothing can be fetched, and even Tansu is right: it errs only past a record.
    holding = [partition for partition in partitions if told[partition] > begins[partition]]
    consumer.assign(holding)
    for partition in holding:
        # What is told lies at most in the middle of the log, never past its end, so the record before it exists
        # (or was compacted away, then the fetch goes on behind it) and the answer comes at once.
        consumer.seek(partition, told[partition] - 1)
    unknown = holding
    while unknown:
        await consumer.getmany(*unknown, timeout_ms=_FETCH_POLL_MS)
        unknown = [partition for partition in unknown if consumer.highwater(partition) is None]
    return {
        partition: max(told[partition], consumer.highwater(partition))
        if partition in holding
        else told[partition]
        for partition in partitions
    }


async def is_tansu(bootstrap_servers: str, *, client_kwargs: Mapping[str, Any] | None = None) -> bool:
    """Whether the cluster calls itself Tansu's default name; one started with another --cluster-id goes unseen.

    Raises:
        aiokafka.errors.KafkaError: no broker answers.
    """
    admin = AIOKafkaAdminClient(**{**(client_kwargs or {}), "bootstrap_servers": bootstrap_servers})
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["cluster_id"] == TANSU_CLUSTER_ID)
    finally:
        await admin.close()


def install_tansu_highwater(
    bootstrap_servers: str, *, client_kwargs: Mapping[str, Any] | None = None
) -> Callable[[], None]:
    """Let every Faust consumer of this process recover its tables up to the true end offsets.

    Replaces a private method of faust-streaming 0.15.3, whose version is pinned for such things; call it before
    the app starts. It would be right on Kafka too, but costs a connection at each recovery.

    Returns:
        What puts Faust's own method back.
    """
    faust_thread: Any = AIOKafkaConsumerThread  # Any: its method is replaced
    original = faust_thread._highwaters  # noqa: SLF001 - the one place where Faust asks for them

    async def highwaters(_thread: AIOKafkaConsumerThread, partitions: Iterable[TP]) -> Mapping[TP, int]:
        ends = await true_end_offsets(bootstrap_servers, partitions, client_kwargs=client_kwargs)
        return {TP(topic, partition): end for (topic, partition), end in ends.items()}

    def uninstall() -> None:
        faust_thread._highwaters = original  # noqa: SLF001 - as above

    faust_thread._highwaters = highwaters  # noqa: SLF001 - as above
    return uninstall
