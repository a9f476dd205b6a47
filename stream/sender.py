"""Record batches to Kafka: acknowledged by all replicas, tried again in place, never silently dropped.

A batch that the producer has can't be taken back from it, and an idempotent one is tried for as long as it takes, also
when nobody waits for it any more. So before partitions are given up, ``settle`` waits for what is under way, and gives up
the whole producer if that takes too long: what it holds is gone with it, and a new one is made for the next send.
A request leaves only while the worker's lease holds (``stream.lease``), and a changelog takes its last owner's alone (``stream.fences``).
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, ProducerClosed, ProducerFenced

from stream.clock import Clock
from stream.errors import FatalError, TransientError
from stream.fences import FENCE_KEY, NOTHING_OWNED, Fence, FencedError, FenceError, Fences, Ownership
from stream.metrics import Metrics
from stream.producing import end_at_once, watch
from stream.stall import Place

log = structlog.get_logger(__name__)

#: One request's worth; a record of MAX_STATE_BYTES fits in it, and in a broker's default 1 MiB.
MAX_BATCH_BYTES: Final = 900_000
_BACK_OFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
#: How long what is under way may take before it is given up. With the time that scores in hand get before it, it is well
#: below the rebalance time-out (12 s), after which the broker gives the partitions away without asking.
SETTLE_SECONDS: Final = 3.0
#: A worker whose partitions another one took over hears of it by its next heartbeat. One that is refused more often (for 14 s
#: or longer) is the owner, and something else has its epoch.
_MOST_REFUSALS: Final = 7


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
        ownership: Ownership = NOTHING_OWNED,
    ) -> None:
        self._client_kwargs = client_kwargs
        self._clock = clock
        self._metrics = metrics
        self._linger_ms = linger_ms
        self._idempotent = idempotent
        self._lease, self._fences = ownership
        self._producer: AIOKafkaProducer | None = None
        #: That are held or under way, of this producer.
        self._requests: set[asyncio.Task[Any]] = set()
        self._connecting = asyncio.Lock()
        self._under_way: set[asyncio.Task[int]] = set()
        self._is_stopped = False

    async def start(self) -> None:
        """Connect."""
        await self._connected()

    async def stop(self) -> None:
        """Send nothing more, settle what is under way and disconnect."""
        self._is_stopped = True
        await self.settle(SETTLE_SECONDS)
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def settle(self, seconds: float) -> None:
        """Wait until nothing is under way; what still is then is given up, so that it can't follow another's records.

        What the broker has read but not yet answered can still be written, as after a crash. Once the lease is over nothing is
        waited for: it would not leave.

        Args:
            seconds: For how long to wait.
        """
        if not self._under_way:
            return
        if self._lease is not None and self._lease.is_over():
            seconds = 0.0
        _, late = await asyncio.wait(self._under_way, timeout=seconds)
        if not late:
            return
        self._metrics.sends_given_up.inc(len(late))
        log.warning("sends_given_up", batches=len(late), after_seconds=seconds)
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_at_once(producer, self._requests)  # ends the sends that it has
        for task in late:
            task.cancel()  # a send that still waited for a producer

    async def take_over(
        self, changelogs: Collection[Place], abandoned: Callable[[], bool]
    ) -> dict[Place, int]:
        """Shut out whoever wrote these topics' partitions before.

        Args:
            changelogs: Which.
            abandoned: As of ``send``.

        Returns:
            Where each ended, exclusive: nobody but this worker writes behind it. Empty if there are no fences.

        Raises:
            SendAbandonedError: As ``send``.
            FenceError: If the broker gives no epoch.
        """
        if self._fences is None:
            return {}
        try:
            async with asyncio.timeout(self._fences.seconds):
                return await self._take_over(self._fences, changelogs, abandoned)
        except TimeoutError as error:
            ids = ", ".join(sorted({self._fences.transactional_id(partition) for _, partition in changelogs}))
            raise FenceError(ids, f"no answer in {self._fences.seconds:g} s") from error

    async def _take_over(
        self, fences: Fences, changelogs: Collection[Place], abandoned: Callable[[], bool]
    ) -> dict[Place, int]:
        if self._lease is not None:
            await self._lease.held()
        if self._is_stopped or abandoned():
            raise SendAbandonedError("the partitions moved on while they were taken over")
        await fences.renew((await self._connected()).client, changelogs)
        records = [Outgoing(*place, [OutRecord(FENCE_KEY, None)]) for place in changelogs]
        return dict(zip(changelogs, await self.send(records, abandoned), strict=True))

    async def send(self, outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        """Send all and wait until all replicas have them.

        Args:
            outgoing: What to send; empty ones are allowed.
            abandoned: Says before each attempt that the partitions are not ours any more.

        Returns:
            The offset of the last record of each, -1 for an empty one.

        Raises:
            SendAbandonedError: If ``abandoned`` while something was still to be sent, or if it was given up.
            SendFailedError: If the broker refuses for good.
        """
        offsets = [-1] * len(outgoing)
        refusals = [0] * len(outgoing)
        pending = [index for index, out in enumerate(outgoing) if out.records]
        attempt = 0
        while pending:
            if self._is_stopped or abandoned():
                raise SendAbandonedError("the partitions moved while sending; the new owner repeats it")
            started = [self._start_one(outgoing[index]) for index in pending]
            # Whoever is cancelled here leaves the sends to settle(): the producer has them anyway.
            sent = await asyncio.gather(*map(asyncio.shield, started), return_exceptions=True)
            failed: list[int] = []
            for index, result in zip(pending, sent, strict=True):
                if isinstance(result, ProducerFenced):
                    self._note_fenced(outgoing[index], refusals[index])
                    refusals[index] += 1
                    failed.append(index)
                elif isinstance(result, BaseException):
                    self._note_failure(outgoing[index], result)
                    failed.append(index)
                else:
                    offsets[index] = result
            pending = failed
            if pending:
                await self._clock.sleep(_BACK_OFF_SECONDS[min(attempt, len(_BACK_OFF_SECONDS) - 1)])
                attempt += 1
        return offsets

    def _start_one(self, out: Outgoing) -> "asyncio.Task[int]":
        fence = None if self._fences is None else self._fences.of((out.topic, out.partition))
        task = asyncio.create_task(self._send_one(out, fence), name=f"send-{out.topic}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def _note_fenced(self, out: Outgoing, refusals_before: int) -> None:
        self._metrics.sends_fenced.inc()
        log.warning("send_fenced", topic=out.topic, partition=out.partition)
        if refusals_before >= _MOST_REFUSALS:
            raise FencedError(out.topic, out.partition)

    def _note_failure(self, out: Outgoing, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError | ProducerClosed):
            message = f"{out.topic} partition {out.partition} took too long while the partitions moved"
            raise SendAbandonedError(message) from error
        if not isinstance(error, KafkaError):
            raise error
        # aiokafka calls a time-out final: it gave up waiting for room in its buffer, which a slow broker will make again.
        if not error.retriable and not isinstance(error, KafkaTimeoutError):
            message = f"{out.topic} partition {out.partition} refused a batch: {error!r}; see the broker's log and limits"
            raise SendFailedError(message) from error
        self._metrics.send_retries.labels(type(error).__name__).inc()
        log.warning("send_retried", topic=out.topic, partition=out.partition, error=type(error).__name__)

    async def _send_one(self, out: Outgoing, fence: Fence | None) -> int:
        producer = await self._connected()
        batches = self._batches(producer, out)
        if fence is not None:
            for batch in batches:
                fence.put_on(batch, out.topic)
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

    async def _connected(self) -> AIOKafkaProducer:
        """The producer; a new one if the last was given up."""
        async with self._connecting:
            if self._producer is None:
                producer = self._new_producer()
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._client_kwargs,
            acks="all",
            enable_idempotence=self._idempotent,
            linger_ms=self._linger_ms,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_BATCH_BYTES + 100_000,
        )
        self._requests = set()
        watch(producer.client, self._requests, self._lease)
        return producer

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
