"""The replay into a real broker: what arrives, where, with which times."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord

from stream.embedded.broker import TansuBroker
from stream.embedded.ports import LOOPBACK, free_ports
from stream.errors import ConfigurationError, TransientError
from stream.events import BEHAVIOUR_TOPICS
from stream.replay.pace import Pace
from stream.replay.producer import ReplayStats, partition_of, replay
from stream.replay.timed import TimedEvent, timed

pytestmark = pytest.mark.embedded

START_MS = 1_500_000_000_000
WALL_MS = 1_900_000_000_000
PARTITIONS = 3


class SteppedClock:
    """Time that moves only by sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def wall_ms(self) -> int:
        return WALL_MS + round(sum(self.slept) * 1000)

    def monotonic_seconds(self) -> float:
        return 100.0 + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class StoppingClock(SteppedClock):
    """Sets ``stop`` as soon as somebody waits, and lets nobody sleep to the end."""

    def __init__(self, stop: asyncio.Event) -> None:
        super().__init__()
        self._stop = stop

    async def sleep(self, seconds: float) -> None:
        self._stop.set()
        await asyncio.Event().wait()


class Topics:
    """Topics of one test, named after the real ones."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._suffix = uuid4().hex[:8]

    def name(self, topic: str) -> str:
        return f"{topic}.{self._suffix}"

    def event(self, at_ms: int, user: str, event_type: str = "purchase", text: str = "") -> TimedEvent:
        event = timed(
            {
                "event_id": f"{user}:{event_type}:{at_ms}",
                "event_type": event_type,
                "user_id": user,
                "occurred_at_ms": at_ms,
                "search_term": text,
            }
        )
        return event._replace(topic=self.name(event.topic))

    async def create(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            await admin.create_topics(
                [NewTopic(self.name(topic), PARTITIONS, 1) for topic in BEHAVIOUR_TOPICS]
            )
        finally:
            await admin.close()

    async def records(self, count: int) -> list[ConsumerRecord[bytes, bytes]]:
        """Exactly ``count`` records; a later one would show as a wrong count of the test's own."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign(
                [
                    TopicPartition(self.name(topic), partition)
                    for topic in BEHAVIOUR_TOPICS
                    for partition in range(PARTITIONS)
                ]
            )
            found: list[ConsumerRecord[bytes, bytes]] = []
            async with asyncio.timeout(20):
                while len(found) < count:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found += records
            return found
        finally:
            await consumer.stop()


@pytest.fixture
async def topics(tansu: TansuBroker) -> Topics:
    made = Topics(tansu.bootstrap_servers)
    await made.create()
    return made


async def test_a_record_carries_user_virtual_time_and_sending_time(topics: Topics) -> None:
    event = topics.event(START_MS - 5, "household-7")

    await replay(
        [event],
        client_kwargs={"bootstrap_servers": topics.bootstrap_servers},
        pace=Pace(start_ms=START_MS, speed=1.0),
        clock=SteppedClock(),
        stop=asyncio.Event(),
    )

    [record] = await topics.records(1)
    assert record.topic == topics.name("behaviour.purchase")
    assert record.key == b"household-7"
    assert orjson.loads(record.value) == event.body
    assert record.timestamp == START_MS - 5
    assert dict(record.headers) == {"sent-at-ms": b"1900000000000"}


async def test_history_goes_without_waiting_and_the_rest_at_its_pace(topics: Topics) -> None:
    clock = SteppedClock()
    events = [
        topics.event(START_MS - 86_400_000, "a", "view_item"),
        topics.event(START_MS - 1, "a", "click"),
        topics.event(START_MS + 20_000, "a"),
        topics.event(START_MS + 20_000, "b", "ad_click"),
        topics.event(START_MS + 50_000, "a", "ad_impression"),
    ]

    stats = await replay(
        events,
        client_kwargs={"bootstrap_servers": topics.bootstrap_servers},
        pace=Pace(start_ms=START_MS, speed=10.0),
        clock=clock,
        stop=asyncio.Event(),
    )

    assert clock.slept == [2.0, 3.0]
    sent_at = {
        (record.topic, record.key): int(dict(record.headers)["sent-at-ms"]) - WALL_MS
        for record in await topics.records(5)
    }
    assert sent_at == {
        (topics.name("behaviour.browse"), b"a"): 0,
        (topics.name("behaviour.click"), b"a"): 0,
        (topics.name("behaviour.purchase"), b"a"): 2_000,
        (topics.name("behaviour.ad"), b"b"): 2_000,
        (topics.name("behaviour.ad"), b"a"): 5_000,
    }
    assert (stats.sent, stats.history, stats.virtual_ms) == (5, 2, START_MS + 50_000)
    assert stats.sent_by_type["ad_click"] == 1
    assert not stats.stopped


async def test_each_user_goes_to_the_murmur2_partition_in_order(topics: Topics) -> None:
    users = [str(number) for number in range(40)]
    events = [topics.event(START_MS - 1_000 + turn, user) for turn in range(100) for user in users]

    stats = await replay(
        events,
        client_kwargs={"bootstrap_servers": topics.bootstrap_servers},
        pace=Pace(start_ms=START_MS, speed=1.0),
        clock=SteppedClock(),
        stop=asyncio.Event(),
    )

    records = await topics.records(4_000)
    assert stats.sent_by_topic == {topics.name("behaviour.purchase"): 4_000}
    assert len(records) == 4_000
    assert {(record.key.decode(), record.partition) for record in records} == {
        (user, partition_of(user, PARTITIONS)) for user in users
    }
    times: dict[bytes, list[int]] = {}
    for record in records:
        times.setdefault(record.key, []).append(record.timestamp)
    assert all(of_user == list(range(START_MS - 1_000, START_MS - 900)) for of_user in times.values())


async def test_more_bytes_than_a_batch_holds_all_arrive(topics: Topics) -> None:
    events = [topics.event(START_MS - 1_000 + number, "a", "search", "x" * 30_000) for number in range(40)]

    await replay(
        events,
        client_kwargs={"bootstrap_servers": topics.bootstrap_servers},
        pace=Pace(start_ms=START_MS, speed=1.0),
        clock=SteppedClock(),
        stop=asyncio.Event(),
    )

    counts = Counter(orjson.loads(record.value)["event_id"] for record in await topics.records(40))
    assert counts == {event.body["event_id"]: 1 for event in events}


async def test_stop_ends_a_replay_that_waits(topics: Topics) -> None:
    stop = asyncio.Event()

    stats = await replay(
        [topics.event(START_MS, "a"), topics.event(START_MS + 1_000_000, "a")],
        client_kwargs={"bootstrap_servers": topics.bootstrap_servers},
        pace=Pace(start_ms=START_MS, speed=1.0),
        clock=StoppingClock(stop),
        stop=stop,
    )

    assert stats.stopped
    assert stats.sent == 1
    assert [record.timestamp for record in await topics.records(1)] == [START_MS]


async def test_stop_ends_a_replay_of_endless_history(topics: Topics) -> None:
    stop = asyncio.Event()

    def endless() -> Iterator[TimedEvent]:
        for number in range(10_000_000):
            if number == 2_500:
                stop.set()
            yield topics.event(START_MS - 10_000_000 + number, "a")

    stats = await replay(
        endless(),
        client_kwargs={"bootstrap_servers": topics.bootstrap_servers},
        pace=Pace(start_ms=START_MS, speed=1.0),
        clock=SteppedClock(),
        stop=stop,
    )

    assert stats.stopped
    assert stats.sent == 2_500
    assert len(await topics.records(2_500)) == 2_500


async def test_the_counts_grow_while_it_runs(topics: Topics) -> None:
    stats = ReplayStats()
    seen: list[int] = []

    def watched() -> Iterator[TimedEvent]:
        for number in range(3_000):
            seen.append(stats.sent)
            body = {**topics.event(START_MS - 10_000 + number, "a").body, "generated": number % 3 == 0}
            yield TimedEvent(START_MS - 10_000 + number, topics.name("behaviour.purchase"), body)

    result = await replay(
        watched(),
        client_kwargs={"bootstrap_servers": topics.bootstrap_servers},
        pace=Pace(start_ms=START_MS, speed=1.0),
        clock=SteppedClock(),
        stop=asyncio.Event(),
        stats=stats,
    )

    assert result is stats
    assert sorted(set(seen)) == [0, 1_000, 2_000]
    assert (stats.sent, stats.generated) == (3_000, 1_000)


async def test_a_topic_that_does_not_exist_is_named_and_not_made(tansu: TansuBroker) -> None:
    topics = Topics(tansu.bootstrap_servers)

    with pytest.raises(
        ConfigurationError, match=rf"no topic {topics.name('behaviour.click')}: create the topics with"
    ):
        await replay(
            [topics.event(START_MS - 1, "a", "click")],
            client_kwargs={"bootstrap_servers": tansu.bootstrap_servers},
            pace=Pace(start_ms=START_MS, speed=1.0),
            clock=SteppedClock(),
            stop=asyncio.Event(),
        )

    admin = AIOKafkaAdminClient(bootstrap_servers=tansu.bootstrap_servers)
    await admin.start()
    try:
        assert topics.name("behaviour.click") not in await admin.list_topics()
    finally:
        await admin.close()


async def test_a_broker_that_is_not_there_is_named() -> None:
    [port] = free_ports(1)

    with pytest.raises(
        TransientError, match=rf"ended after 0 events: .*{LOOPBACK}:{port}; check that the broker runs"
    ):
        await replay(
            [],
            client_kwargs={"bootstrap_servers": f"{LOOPBACK}:{port}"},
            pace=Pace(start_ms=START_MS, speed=1.0),
            clock=SteppedClock(),
            stop=asyncio.Event(),
        )
