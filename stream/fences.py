"""Fences: whoever takes over a partition shuts out those who wrote its changelogs before.

However late a worker looks whether its lease holds, it can be frozen between that look and the request. So the broker has the last word.
All owners of a partition write its changelogs under one producer id, that of a transactional id (there are no transactions), and
each owner takes the id's next epoch before anything else. From the first record with that epoch on, Kafka refuses any of an
older one in the same log. That first record is the fence: everything that an owner before wrote stands in front of it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, TransactionalIdAuthorizationFailed, UnsupportedVersionError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager

from stream.errors import FatalError
from stream.lease import Lease
from stream.settings import Settings
from stream.stall import Place

log = structlog.get_logger(__name__)

#: A tombstone, so that it deletes nothing and compaction takes it away. No text in UTF-8, so no user's key; and no marker's.
FENCE_KEY: Final = b"\xfe"
#: The broker asks for a time-out of transactions that are never begun.
_TRANSACTION_MS: Final = 60_000
_RETRY_MS: Final = 100
#: Below Faust's own time-out of a step of recovery, which would not say what it waited for.
_SHARE_OF_REQUEST: Final = 0.75
_SEQUENCES: Final = 2**31


class FenceError(FatalError):
    """The brokers let a worker not take over its partitions' changelogs."""

    def __init__(self, transactional_ids: str, why: str) -> None:
        super().__init__(
            f"the brokers let nobody take over the transactional ids {transactional_ids!r}, without which a worker that was frozen could "
            f"still write the state of a partition that it lost: {why}. It needs the right Write on that transactional id "
            "(`interestflow topics acls`) and its topic __transaction_state, for which a cluster with fewer brokers than "
            "transaction.state.log.replication.factor has no place"
        )


class FencedError(FatalError):
    """Another process writes this worker's changelogs, though the group counts on this one."""

    def __init__(self, topic: str, partition: int) -> None:
        super().__init__(
            f"{topic} partition {partition} has a newer owner, though this worker's group counts on this one: nothing is lost, the "
            "bundle comes again. A worker that was frozen as it took over does this once; if it comes back, a process of "
            "another group uses this INTERESTFLOW_APP_ID"
        )


class Fence:
    """One owner's right to write the changelogs of one partition.

    Args:
        producer_id: Of all owners of the partition.
        epoch: Of this one.
    """

    def __init__(self, producer_id: int, epoch: int) -> None:
        self._producer_id = producer_id
        self._epoch = epoch
        self._next: defaultdict[str, int] = defaultdict(int)

    def put_on(self, batch: BatchBuilder, topic: str) -> None:
        """Let a batch say, as it leaves, who sends it and that it follows this owner's last one of the topic."""
        # Private, for there is no other way; tests/unit/test_faust_private_names.py looks at it.
        put = batch._set_producer_state  # noqa: SLF001

        def put_ours(*_: int) -> None:
            put(self._producer_id, self._epoch, self._next[topic])
            self._next[topic] = (self._next[topic] + batch.record_count()) % _SEQUENCES

        batch._set_producer_state = put_ours  # noqa: SLF001 - as above


class Fences:
    """Those of one worker.

    Args:
        app_id: The consumer group; the transactional ids begin with it.
        seconds: How long the brokers may take to give epochs and write the fences.
    """

    def __init__(self, app_id: str, seconds: float) -> None:
        self._app_id = app_id
        self.seconds = seconds
        self._fences: dict[Place, Fence] = {}

    def of(self, place: Place) -> Fence | None:
        """The one in force for a topic's partition; None of what is not fenced."""
        return self._fences.get(place)

    def transactional_id(self, partition: int) -> str:
        """Under which all owners of a partition write its changelogs."""
        return f"{transactional_id_prefix(self._app_id)}{partition}"

    async def renew(self, client: AIOKafkaClient, places: Iterable[Place]) -> None:
        """Take the next epoch of each partition; from now on batches of these places bear it.

        Raises:
            FenceError: If the broker refuses.
        """
        places = list(places)
        partitions = sorted({partition for _, partition in places})
        taken = await asyncio.gather(*(self._take(client, partition) for partition in partitions))
        fences: Mapping[int, Fence] = dict(zip(partitions, taken, strict=True))
        self._fences.update({(topic, partition): fences[partition] for topic, partition in places})

    async def _take(self, client: AIOKafkaClient, partition: int) -> Fence:
        ids = TransactionManager(self.transactional_id(partition), _TRANSACTION_MS)
        unused: Any = None
        asking = Sender(
            client,
            acks=-1,
            txn_manager=ids,
            message_accumulator=unused,
            retry_backoff_ms=_RETRY_MS,
            request_timeout_ms=int(self.seconds * 1000),
        )
        while not ids.has_pid():
            try:
                await asking._maybe_wait_for_pid()  # noqa: SLF001 - as above
            except (TransactionalIdAuthorizationFailed, UnsupportedVersionError) as error:
                raise FenceError(ids.transactional_id, repr(error)) from error
            except KafkaError as error:
                # A broker that went away, of which aiokafka makes an error that says nothing.
                log.warning("epoch_not_given", transactional_id=ids.transactional_id, error=repr(error))
                await asyncio.sleep(_RETRY_MS / 1000)
        return Fence(ids.producer_id, ids.producer_epoch)


class Ownership(NamedTuple):
    """What keeps a worker from writing partitions that it lost."""

    lease: Lease | None = None
    fences: Fences | None = None


NOTHING_OWNED: Final = Ownership()


def build_fences(settings: Settings) -> Fences | None:
    """A worker's; None without them, as on the embedded broker, which knows no producers and has but one worker."""
    kafka = settings.kafka
    if not kafka.fencing or kafka.broker == "tansu":
        return None
    return Fences(settings.app_id, kafka.request_timeout_seconds * _SHARE_OF_REQUEST)


def transactional_id_prefix(app_id: str) -> str:
    """How the transactional ids of a deployment begin, for rights on them."""
    return f"{app_id}-"
