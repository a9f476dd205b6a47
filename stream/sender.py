"""Record batches to Kafka: acknowledged by all replicas, tried again in place, never silently dropped."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from stream.clock import Clock
from stream.errors import FatalError, TransientError
from stream.metrics import Metrics

log = structlog.get_logger(__name__)

#: One request's worth; a record of MAX_STATE_BYTES fits in it, and in a broker's default 1 MiB.
MAX_BATCH_BYTES: Final = 900_000
_BACK_OFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class SendAbandonedError(TransientError):
    """The partitions are moving or the worker stops: nothing was acked, all of it comes again."""


class SendFailedError(FatalError):
    """A broker refused a record in a way that no retry mends."""


class OutRecord(NamedTuple):
    """One record; a value of None is a tombstone, a timestamp of None the time of sending."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int | None = None


class Outgoing(NamedTuple):
    """Records of one partition, in order."""

    topic: str
    partition: int
    records: Sequence[OutRecord]


class BatchSender:
    """Sends record batches on a producer of its own; stock Faust sends record by record.

    Idempotent wherever the broker can: the embedded one can't.
    """

    def __init__(
        self,
        client_kwargs: dict[str, Any],
        clock: Clock,
        metrics: Metrics,
        *,
        linger_ms: int,
        idempotent: bool,
    ) -> None:
        self._client_kwargs = client_kwargs
        self._clock = clock
        self._metrics = metrics
        self._linger_ms = linger_ms
        self._idempotent = idempotent
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect."""
        self._producer = AIOKafkaProducer(
            **self._client_kwargs,
            acks="all",
            enable_idempotence=self._idempotent,
            linger_ms=self._linger_ms,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_BATCH_BYTES + 100_000,
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Send what is pending and disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def send(self, outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        """Send all and wait until all replicas have them.

        Args:
            outgoing: What to send; empty ones are allowed.
            abandoned: Says during retries that the partitions are not ours any more.

        Returns:
            The offset of the last record of each, -1 for an empty one.

        Raises:
            SendAbandonedError: If ``abandoned`` while something was still to be sent.
            SendFailedError: If the broker refuses for good.
        """
        offsets = [-1] * len(outgoing)
        pending = [index for index, out in enumerate(outgoing) if out.records]
        attempt = 0
        while pending:
            sent = await asyncio.gather(
                *(self._send_one(outgoing[index]) for index in pending), return_exceptions=True
            )
            failed: list[int] = []
            for index, result in zip(pending, sent, strict=True):
                if isinstance(result, BaseException):
                    self._note_failure(outgoing[index], result)
                    failed.append(index)
                else:
                    offsets[index] = result
            pending = failed
            if pending:
                if abandoned():
                    raise SendAbandonedError("the partitions moved while sending; the new owner repeats it")
                await self._clock.sleep(_BACK_OFF_SECONDS[min(attempt, len(_BACK_OFF_SECONDS) - 1)])
                attempt += 1
        return offsets

    def _note_failure(self, out: Outgoing, error: BaseException) -> None:
        if not isinstance(error, KafkaError):
            raise error
        # aiokafka calls a time-out final: it gave up waiting for room in its buffer, which a slow broker will make again.
        if not error.retriable and not isinstance(error, KafkaTimeoutError):
            message = f"{out.topic} partition {out.partition} refused a batch: {error!r}; see the broker's log and limits"
            raise SendFailedError(message) from error
        self._metrics.send_retries.labels(type(error).__name__).inc()
        log.warning("send_retried", topic=out.topic, partition=out.partition, error=type(error).__name__)

    async def _send_one(self, out: Outgoing) -> int:
        producer = self._producer
        assert producer is not None, "start() first"
        batches = self._batches(producer, out)
        sent: list[asyncio.Future[Any]] = []
        try:
            for batch in batches:
                future = await producer.send_batch(batch, out.topic, partition=out.partition)
                sent.append(future)
        finally:
            # All of them, also after a failure: none may still be under way when they are sent again.
            answers = await asyncio.gather(*sent, return_exceptions=True)
        offset = -1
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            offset = int(answer.offset)
        return offset + int(batches[-1].record_count()) - 1

    def _batches(self, producer: AIOKafkaProducer, out: Outgoing) -> list[Any]:
        batches = [producer.create_batch()]
        for record in out.records:
            _require_size(out, record)
            if not self._append(batches[-1], record):
                batches.append(producer.create_batch())
                self._append(batches[-1], record)
        return batches

    @staticmethod
    def _append(batch: Any, record: OutRecord) -> bool:
        metadata = batch.append(
            key=record.key, value=record.value, timestamp=record.timestamp_ms, headers=list(record.headers)
        )
        return metadata is not None


def _require_size(out: Outgoing, record: OutRecord) -> None:
    """The client would take a larger one and wait for the broker to refuse it."""
    size = len(record.key or b"") + len(record.value or b"")
    if size > MAX_BATCH_BYTES:
        raise SendFailedError(
            f"a record for {out.topic} has {size} bytes, one request holds {MAX_BATCH_BYTES}"
        )
