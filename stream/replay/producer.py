"""A replay into Kafka: each event keyed by its user, stamped with its virtual time, sent when the pace says so.

Delivery is at least once without an idempotent producer (the embedded broker has none): a batch that is sent twice
is recognised by its event ids.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from stream.clock import Clock
from stream.errors import ConfigurationError, TransientError
from stream.replay.pace import Pace
from stream.replay.timed import TimedEvent

#: Wall clock (UTC ms, ASCII) at which a record was handed to the producer; freshness in a replay is measured from it.
SENT_AT_HEADER: Final = "sent-at-ms"

#: Events taken per turn of the event loop while nothing has to wait: ~30 ms of work.
_EVENTS_PER_TURN: Final = 1000
#: Bytes per batch: a quarter of the 1 MB that brokers take by default, so that one full basket more never matters.
_BATCH_BYTES: Final = 262_144
_REQUEST_TIMEOUT_MS: Final = 30_000
#: An event due within this time is sent now: waking up costs more than being early.
_EARLY_SECONDS: Final = 0.002
_DEFAULT_PARTITIONER: Final = DefaultPartitioner()


@dataclass(slots=True)
class ReplayStats:
    """What was sent so far; changed in place while the replay runs, so that a screen can read it."""

    sent_by_topic: Counter[str] = field(default_factory=Counter)
    sent_by_type: Counter[str] = field(default_factory=Counter)
    generated: int = 0
    #: Of these, events before the paced part.
    history: int = 0
    #: Event time of the last event sent (UTC ms), 0 before the first.
    virtual_ms: int = 0
    elapsed_seconds: float = 0.0
    #: Whether it ended because it was told to, not because the events were at their end.
    stopped: bool = False

    @property
    def sent(self) -> int:
        """Events handed to the producer."""
        return self.sent_by_topic.total()

    @property
    def events_per_second(self) -> float:
        """Mean over the whole replay, 0 before it began."""
        return self.sent / self.elapsed_seconds if self.elapsed_seconds else 0.0


async def replay(
    events: Iterable[TimedEvent],
    *,
    client_kwargs: Mapping[str, Any],
    pace: Pace,
    clock: Clock,
    stop: asyncio.Event,
    stats: ReplayStats | None = None,
) -> ReplayStats:
    """Send events until their end or until ``stop`` is set; everything sent is acknowledged when this returns.

    The record's timestamp is the event time: the virtual clock of a replay (topics with ``CreateTime``).

    Args:
        events: In time order.
        client_kwargs: For aiokafka: ``bootstrap_servers`` and whatever the connection needs.
        pace: When each event is due.
        clock: For waiting, for the header and for the figures.
        stop: Ends the replay at once, also while it waits for the next event.
        stats: Gets the counts while they grow; a new one if None.

    Raises:
        ConfigurationError: If the topic of an event does not exist.
        TransientError: If the broker can't be reached or does not take the events.
    """
    stats = stats or ReplayStats()
    settings = {"request_timeout_ms": _REQUEST_TIMEOUT_MS, **client_kwargs}
    producer = AIOKafkaProducer(acks="all", max_batch_size=_BATCH_BYTES, **settings)
    try:
        await producer.start()
        # All topics at once: some brokers create a topic that is asked for by its name.
        cluster = await producer.client.fetch_all_metadata()
        outbox = _Outbox(producer, cluster, clock)
        await _send_all(events, outbox, pace, stop, stats)
    except KafkaError as error:
        raise TransientError(
            f"the replay ended after {stats.sent} events: {error!r} from {client_kwargs['bootstrap_servers']}; check that "
            "the broker runs, then start the replay again (repeated events are recognised by their ids)"
        ) from error
    finally:
        await producer.stop()
    return stats


@lru_cache(maxsize=65_536)  # the hash is plain Python, ~5 µs
def partition_of(user_id: str, partition_count: int) -> int:
    """The partition that Java's and aiokafka's default partitioner (murmur2) give a user."""
    partitions = list(range(partition_count))
    chosen: int = _DEFAULT_PARTITIONER(user_id.encode(), partitions, partitions)
    return chosen


async def _send_all(
    events: Iterable[TimedEvent], outbox: "_Outbox", pace: Pace, stop: asyncio.Event, stats: ReplayStats
) -> None:
    clock = outbox.clock
    began = clock.monotonic_seconds()
    turn: list[TimedEvent] = []

    async def flush() -> None:
        await outbox.send(turn)
        _count(turn, pace, stats)
        stats.elapsed_seconds = clock.monotonic_seconds() - began
        turn.clear()

    for event in events:
        if len(turn) >= _EVENTS_PER_TURN or _wait_seconds(pace, event, clock) > 0:
            await flush()
            while not stop.is_set() and (seconds := _wait_seconds(pace, event, clock)) > 0:
                await _sleep_or_stop(clock, seconds, stop)
        if stop.is_set():
            stats.stopped = True
            break
        turn.append(event)
    await flush()
    await outbox.settle()
    stats.elapsed_seconds = clock.monotonic_seconds() - began


def _wait_seconds(pace: Pace, event: TimedEvent, clock: Clock) -> float:
    seconds = pace.wait_seconds(event.at_ms, clock.monotonic_seconds())
    return seconds if seconds > _EARLY_SECONDS else 0.0


async def _sleep_or_stop(clock: Clock, seconds: float, stop: asyncio.Event) -> None:
    waits = {asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(stop.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _count(sent: list[TimedEvent], pace: Pace, stats: ReplayStats) -> None:
    for event in sent:
        stats.sent_by_topic[event.topic] += 1
        stats.sent_by_type[event.body["event_type"]] += 1
        stats.generated += event.body.get("generated", False)
        stats.history += pace.is_history(event.at_ms)
        stats.virtual_ms = event.at_ms


class _Outbox:
    """Turns of events as record batches; one turn is in flight while the next one is made."""

    def __init__(self, producer: AIOKafkaProducer, cluster: ClusterMetadata, clock: Clock) -> None:
        self._producer = producer
        self._cluster = cluster
        self._partition_counts: dict[str, int] = {}
        self._in_flight: list[asyncio.Future[Any]] = []
        self.clock = clock

    async def send(self, turn: list[TimedEvent]) -> None:
        """Hand a turn over once the one before it is acknowledged.

        Raises:
            KafkaError: If an earlier turn was not taken.
        """
        batches = list(self._batches(turn))
        await self.settle()
        for topic, partition, batch in batches:
            sending = await self._producer.send_batch(batch, topic, partition=partition)
            self._in_flight.append(sending)

    async def settle(self) -> None:
        """Wait until everything handed over is acknowledged.

        Raises:
            KafkaError: If something was not taken.
        """
        answers = await asyncio.gather(*self._in_flight, return_exceptions=True)
        self._in_flight.clear()
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _batches(self, turn: list[TimedEvent]) -> Iterator[tuple[str, int, Any]]:
        by_target: defaultdict[tuple[str, int], list[TimedEvent]] = defaultdict(list)
        for event in turn:
            count = self._partition_counts.get(event.topic) or self._partition_count(event.topic)
            partition = partition_of(event.body["user_id"], count)
            by_target[event.topic, partition].append(event)
        headers = [(SENT_AT_HEADER, b"%d" % self.clock.wall_ms())]
        for (topic, partition), events in by_target.items():
            batch = self._producer.create_batch()
            for event in events:
                record = {
                    "key": event.body["user_id"].encode(),
                    "value": orjson.dumps(event.body),
                    "timestamp": event.at_ms,
                    "headers": headers,
                }
                if batch.append(**record) is None:  # full
                    yield topic, partition, batch
                    batch = self._producer.create_batch()
                    batch.append(**record)
            yield topic, partition, batch

    def _partition_count(self, topic: str) -> int:
        partitions = self._cluster.partitions_for_topic(topic)
        if not partitions:
            raise ConfigurationError(
                f"the broker has no topic {topic}: create the topics with `interestflow topics create`"
            )
        self._partition_counts[topic] = len(partitions)
        return len(partitions)
