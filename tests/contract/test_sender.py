"""The sender's contract: on the fake that unit tests use, on the embedded broker and on Apache Kafka."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NotLeaderForPartitionError

from stream.clock import SystemClock
from stream.embedded.ports import LOOPBACK, free_ports
from stream.fences import FENCE_KEY, FencedError, FenceError, Fences, Ownership
from stream.lease import Lease
from stream.metrics import Metrics
from stream.sender import (
    BatchSender,
    Outgoing,
    OutRecord,
    SendAbandonedError,
    SendFailedError,
)
from stream.topic_specs import TopicSpec
from stream.topics import create_topics
from tests.brokers import delete_topics
from tests.builders import NOW_MS, FakeSender, FrozenClock, never, unseen_failures
from tests.conftest import unavailable
from tests.kafka_node import KafkaNode, KafkaUnavailableError
from tests.produce_gate import ProduceGate

LIMIT_SECONDS = 30.0


class SlowedClock(FrozenClock):
    """Stands still while somebody sleeps, which takes as long as it says."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Fake:
    """The fake, with a broker's reading side."""

    def __init__(self) -> None:
        self.sender: BatchSender = FakeSender()

    async def topic(self) -> str:
        return uuid4().hex

    async def read(self, topic: str, partition: int, count: int) -> list[OutRecord]:
        assert isinstance(self.sender, FakeSender)
        log = self.sender.logs[topic, partition]
        assert len(log) == count
        return [one._replace(headers=list(one.headers)) for one in log]


class Real:
    """A sender on a real broker, and a consumer to see what arrived."""

    def __init__(self, bootstrap_servers: str, *, idempotent: bool, app_id: str | None = None) -> None:
        self._kwargs = {"bootstrap_servers": bootstrap_servers}
        self.metrics, self.lease_clock = Metrics(), SlowedClock()
        self.lease = Lease(self.lease_clock, self.metrics, session_seconds=10.0)
        self.fences = None if app_id is None else Fences(app_id, LIMIT_SECONDS)
        self.sender = BatchSender(
            self._kwargs,
            SystemClock(),
            self.metrics,
            linger_ms=0,
            idempotent=idempotent,
            ownership=Ownership(self.lease, self.fences),
        )

    async def topic(self, **config: str) -> str:
        name = uuid4().hex
        await create_topics(self._kwargs["bootstrap_servers"], [TopicSpec(name, 2, config=config)])
        return name

    async def read(self, topic: str, partition: int, count: int) -> list[OutRecord]:
        consumer = AIOKafkaConsumer(**self._kwargs, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, partition)])
            async with asyncio.timeout(LIMIT_SECONDS):
                found = [await consumer.getone() for _ in range(count)]
            assert [record.offset for record in found] == list(range(count))
        finally:
            await consumer.stop()
        return [OutRecord(one.key, one.value, list(one.headers), one.timestamp) for one in found]


_REAL = [
    pytest.param("tansu", marks=pytest.mark.embedded),
    pytest.param("kafka_node", marks=pytest.mark.kafka),
]


@pytest.fixture(params=["fake", *_REAL])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Fake | Real]:
    if request.param == "fake":
        yield Fake()
        return
    async for real in _on_a_broker(request):
        yield real


@pytest.fixture(params=_REAL)
async def real(request: pytest.FixtureRequest) -> AsyncIterator[Real]:
    async for real in _on_a_broker(request):
        yield real


async def _on_a_broker(request: pytest.FixtureRequest) -> AsyncIterator[Real]:
    node = request.getfixturevalue(request.param)
    real = Real(node.bootstrap_servers, idempotent=request.param == "kafka_node")
    await real.sender.start()
    yield real
    await real.sender.stop()


async def test_records_arrive_as_they_are_and_in_order(broker: Fake | Real) -> None:
    topic = await broker.topic()
    records = [
        OutRecord(b"k", b"v", [("h", b"1"), ("h", b"2")], NOW_MS),
        OutRecord(None, b"x", [], NOW_MS + 1),
        OutRecord(b"k", None, [], NOW_MS + 2),
    ]

    await broker.sender.send([Outgoing(topic, 1, records)], never)

    assert await broker.read(topic, 1, 3) == records


async def test_the_offset_of_the_last_record_of_each_comes_back(broker: Fake | Real) -> None:
    topic = await broker.topic()
    one, two = [OutRecord(b"k", b"1", [], NOW_MS)], [OutRecord(b"k", b"2", [], NOW_MS)] * 2

    first = await broker.sender.send([Outgoing(topic, 0, two), Outgoing(topic, 1, [])], never)
    second = await broker.sender.send([Outgoing(topic, 1, one), Outgoing(topic, 0, two)], never)

    assert (first, second) == ([1, -1], [0, 3])


async def test_more_than_a_request_holds_arrives_in_order(broker: Fake | Real) -> None:
    topic = await broker.topic()
    records = [OutRecord(b"k", bytes([number]) * 400_000, [], NOW_MS) for number in range(5)]

    offsets = await broker.sender.send([Outgoing(topic, 0, records)], never)

    assert offsets == [4]
    assert await broker.read(topic, 0, 5) == records


@pytest.mark.kafka
async def test_what_kafka_refuses_for_good_is_a_named_error(request: pytest.FixtureRequest) -> None:
    node = request.getfixturevalue("kafka_node")
    real = Real(node.bootstrap_servers, idempotent=True)
    await real.sender.start()
    topic = await real.topic(**{"max.message.bytes": "1000"})

    try:
        with pytest.raises(
            SendFailedError, match=f"{topic} partition 0 refused a batch: .*MessageSizeTooLarge"
        ):
            await real.sender.send([Outgoing(topic, 0, [OutRecord(b"k", b"x" * 2000)])], never)
    finally:
        await real.sender.stop()


@asynccontextmanager
async def _gated(directory: Path) -> AsyncIterator[ProduceGate]:
    """A node of its own behind a gate."""
    port, broker_port, controller_port = free_ports(3)
    properties = {"advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}"}
    try:
        node = KafkaNode(directory, ports=(broker_port, controller_port), properties=properties)
    except KafkaUnavailableError as error:
        unavailable(str(error))
    async with ProduceGate(port, broker_port) as gate:
        await asyncio.to_thread(node.start)
        try:
            yield gate
        finally:
            await asyncio.to_thread(node.kill)


@pytest.mark.kafka
async def test_what_is_given_up_never_arrives_and_the_next_is_sent_by_a_new_producer(tmp_path: Path) -> None:
    async with _gated(tmp_path) as gate:
        real = Real(gate.address, idempotent=True)
        try:
            topic = await real.topic()
            await real.sender.start()
            gate.hold(topic)
            late = asyncio.create_task(real.sender.send([Outgoing(topic, 0, [_record(b"late")])], never))
            await gate.until_held()

            await real.sender.settle(0.5)
            with pytest.raises(SendAbandonedError, match=f"{topic} partition 0 took too long while the part"):
                await late
            gate.release()
            sent = await real.sender.send([Outgoing(topic, 0, [_record(b"next")])], never)

            assert sent == [0]
            assert await real.read(topic, 0, 1) == [_record(b"next")]
        finally:
            await real.sender.stop()


@pytest.mark.kafka
async def test_what_waits_for_its_next_try_is_given_up_without_a_word_in_the_log(
    request: pytest.FixtureRequest,
) -> None:
    node = request.getfixturevalue("kafka_node")
    real = Real(node.bootstrap_servers, idempotent=True)
    unseen = unseen_failures()
    topic = await real.topic()
    await real.sender.start()
    await real.sender.send([Outgoing(topic, 0, [_record(b"a")])], never)
    await delete_topics(node.bootstrap_servers, [topic])
    late = asyncio.create_task(real.sender.send([Outgoing(topic, 0, [_record(b"late")])], never))

    await asyncio.sleep(0.5)  # long enough for some tries, each refused
    await real.sender.settle(0.0)
    with pytest.raises(SendAbandonedError, match=f"{topic} partition 0 took too long while the partitions"):
        await late
    await real.sender.stop()

    gc.collect()  # a failure that nobody looked at is told when it is forgotten
    await asyncio.sleep(0)
    assert unseen == []


def _record(value: bytes) -> OutRecord:
    return OutRecord(b"k", value, [], NOW_MS)


async def test_nothing_is_sent_for_partitions_that_moved_already(broker: Fake | Real) -> None:
    topic = await broker.topic()

    with pytest.raises(SendAbandonedError, match="the partitions moved while sending"):
        await broker.sender.send([Outgoing(topic, 0, [_record(b"a")])], lambda: True)
    await broker.sender.send([Outgoing(topic, 0, [_record(b"b")])], never)

    assert await broker.read(topic, 0, 1) == [_record(b"b")]


async def _is_held(real: Real) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not real.metrics.sends_held._value.get():
            await asyncio.sleep(0.01)


async def test_a_worker_that_slept_beyond_its_session_sends_once_it_is_known_to_be_counted_on(
    real: Real,
) -> None:
    topic = await real.topic()
    real.lease.renew(real.lease.now())
    await real.sender.send([Outgoing(topic, 0, [_record(b"before")])], never)
    real.lease_clock.monotonic += 20

    late = asyncio.create_task(real.sender.send([Outgoing(topic, 0, [_record(b"late")])], never))
    await _is_held(real)
    seen = await real.read(topic, 0, 1)
    real.lease.renew(real.lease.now())

    assert seen == [_record(b"before")]
    assert await late == [1]


async def test_what_such_a_worker_had_in_hand_never_arrives_if_the_partitions_went(
    real: Real,
) -> None:
    topic = await real.topic()
    real.lease.renew(real.lease.now())
    real.lease_clock.monotonic += 20
    late = asyncio.create_task(real.sender.send([Outgoing(topic, 0, [_record(b"older state")])], never))
    await _is_held(real)

    await real.sender.settle(LIMIT_SECONDS)  # the revocation; there is nothing to wait for
    with pytest.raises(SendAbandonedError, match=f"{topic} partition 0 took too long while the partitions"):
        await late
    real.lease.renew(real.lease.now())  # joined anew
    sent = await real.sender.send([Outgoing(topic, 0, [_record(b"newer")])], never)

    assert sent == [0]
    assert await real.read(topic, 0, 1) == [_record(b"newer")]


# -- fences ---------------------------------------------------------------------------------------------------------

_FENCE = (FENCE_KEY, None)


def _pairs(records: list[OutRecord]) -> list[tuple[bytes | None, bytes | None]]:
    return [(one.key, one.value) for one in records]


@asynccontextmanager
async def _owners(*addresses: str) -> AsyncIterator[list[Real]]:
    app_id = uuid4().hex
    owners = [Real(address, idempotent=True, app_id=app_id) for address in addresses]
    try:
        for one in owners:
            await one.sender.start()
        yield owners
    finally:
        for one in owners:
            await one.sender.stop()


@asynccontextmanager
async def _succeeded(address: str) -> AsyncIterator[tuple[Real, Real, str]]:
    """An owner of a topic's partition, and the one who took it over."""
    async with _owners(address, address) as (before, now):
        topic = await before.topic()
        await before.sender.take_over([(topic, 0)], never)
        await now.sender.take_over([(topic, 0)], never)
        yield before, now, topic


@pytest.mark.kafka
async def test_who_takes_a_changelog_over_is_told_where_the_last_owners_records_end(
    kafka_node: KafkaNode,
) -> None:
    async with _owners(*[kafka_node.bootstrap_servers] * 2) as (before, now):
        topic, other = await before.topic(), await before.topic()

        first = await before.sender.take_over([(topic, 0), (topic, 1), (other, 0)], never)
        await before.sender.send([Outgoing(topic, 0, [_record(b"a"), _record(b"b")])], never)
        second = await now.sender.take_over([(topic, 0)], never)
        await now.sender.send([Outgoing(topic, 0, [_record(b"c")])], never)

        assert first == {(topic, 0): 0, (topic, 1): 0, (other, 0): 0}
        assert second == {(topic, 0): 3}
        kept = [(b"k", b"a"), (b"k", b"b")]
        assert _pairs(await now.read(topic, 0, 5)) == [_FENCE, *kept, _FENCE, (b"k", b"c")]


@pytest.mark.kafka
async def test_what_an_owner_sends_that_does_not_know_of_the_next_is_refused_until_it_hears(
    kafka_node: KafkaNode,
) -> None:
    async with _succeeded(kafka_node.bootstrap_servers) as (before, now, topic):
        moved = asyncio.Event()

        late = asyncio.create_task(
            before.sender.send([Outgoing(topic, 0, [_record(b"older state")])], moved.is_set)
        )
        async with asyncio.timeout(LIMIT_SECONDS):
            while not before.metrics.sends_fenced._value.get():
                await asyncio.sleep(0.01)
        moved.set()  # as its next heartbeat says
        with pytest.raises(SendAbandonedError, match="the partitions moved while sending"):
            await late
        (offset,) = await now.sender.send([Outgoing(topic, 0, [_record(b"newer")])], never)

        assert offset == 2
        assert _pairs(await now.read(topic, 0, 3)) == [_FENCE, _FENCE, (b"k", b"newer")]


@pytest.mark.kafka
async def test_an_owner_that_is_refused_though_its_group_counts_on_it_ends_by_name(
    kafka_node: KafkaNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.sender._MOST_REFUSALS", 1)
    async with _succeeded(kafka_node.bootstrap_servers) as (before, _, topic):
        with pytest.raises(FencedError, match=f"{topic} partition 0 has a newer owner"):
            await before.sender.send([Outgoing(topic, 0, [_record(b"a")])], never)


@pytest.mark.kafka
async def test_other_failures_before_do_not_count_as_refusals(
    kafka_node: KafkaNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.sender._MOST_REFUSALS", 1)
    async with _succeeded(kafka_node.bootstrap_servers) as (before, _, topic):
        monkeypatch.setattr(before.sender, "_send_one", _failing_first(before.sender._send_one, times=3))

        with pytest.raises(SendAbandonedError):
            await before.sender.send(
                [Outgoing(topic, 0, [_record(b"a")])], lambda: bool(before.metrics.sends_fenced._value.get())
            )


def _failing_first(send: Callable[..., Awaitable[int]], *, times: int) -> Callable[..., Awaitable[int]]:
    """As when the leader moves."""
    left = iter(range(times))

    async def sending(*args: Any) -> int:
        if next(left, None) is not None:
            raise NotLeaderForPartitionError
        return await send(*args)

    return sending


@pytest.mark.kafka
async def test_an_owner_that_takes_over_again_goes_on(kafka_node: KafkaNode) -> None:
    async with _owners(kafka_node.bootstrap_servers) as (owner,):
        topic = await owner.topic()
        await owner.sender.take_over([(topic, 0)], never)
        await owner.sender.send([Outgoing(topic, 0, [_record(b"a")])], never)

        again = await owner.sender.take_over([(topic, 0)], never)
        sent = await owner.sender.send([Outgoing(topic, 0, [_record(b"b")])], never)

        assert (again, sent) == ({(topic, 0): 2}, [3])


@pytest.mark.kafka
async def test_a_request_that_is_on_its_way_while_the_next_owner_writes_is_refused(tmp_path: Path) -> None:
    """As that of a worker that was frozen between its last look and the socket, which no look of its own can prevent."""
    async with _gated(tmp_path) as gate, _owners(gate.address, gate.address) as (before, now):
        topic = await before.topic()
        await before.sender.take_over([(topic, 0)], never)
        gate.hold(topic)
        moved = asyncio.Event()
        late = asyncio.create_task(
            before.sender.send([Outgoing(topic, 0, [_record(b"older state")])], moved.is_set)
        )
        await gate.until_held()
        gate.let_others_pass()
        await now.sender.take_over([(topic, 0)], never)
        await now.sender.send([Outgoing(topic, 0, [_record(b"newer")])], never)

        gate.release()
        async with asyncio.timeout(LIMIT_SECONDS):
            while not before.metrics.sends_fenced._value.get():
                await asyncio.sleep(0.01)
        moved.set()
        with pytest.raises(SendAbandonedError):
            await late

        assert _pairs(await now.read(topic, 0, 3)) == [_FENCE, _FENCE, (b"k", b"newer")]


@pytest.mark.kafka
async def test_a_cluster_that_can_not_keep_transactional_ids_is_a_named_error(tmp_path: Path) -> None:
    too_many = {"transaction.state.log.replication.factor": "3", "transaction.state.log.min.isr": "3"}
    try:
        node = KafkaNode(tmp_path, properties=too_many)
    except KafkaUnavailableError as error:
        unavailable(str(error))
    await asyncio.to_thread(node.start)
    owner = Real(node.bootstrap_servers, idempotent=True)
    owner.sender._fences = Fences("shop", 1.0)
    try:
        topic = await owner.topic()
        await owner.sender.start()

        with pytest.raises(
            FenceError, match=r"transactional ids 'shop-0'.*no answer in 1 s.*replication.factor"
        ):
            await owner.sender.take_over([(topic, 0)], never)
    finally:
        await owner.sender.stop()
        await asyncio.to_thread(node.kill)


@pytest.mark.kafka
async def test_partitions_that_moved_on_are_not_taken_over(kafka_node: KafkaNode) -> None:
    async with _owners(*[kafka_node.bootstrap_servers] * 2) as (before, now):
        topic = await now.topic()
        await now.sender.take_over([(topic, 0)], never)

        with pytest.raises(SendAbandonedError, match="moved on while they were taken over"):
            await before.sender.take_over([(topic, 0)], lambda: True)
        assert await now.sender.send([Outgoing(topic, 0, [_record(b"a")])], never) == [1]


async def test_without_fences_nobody_is_shut_out(broker: Fake | Real) -> None:
    topic = await broker.topic()

    assert await broker.sender.take_over([(topic, 0)], never) == {}
    assert await broker.sender.send([Outgoing(topic, 0, [_record(b"a")])], never) == [0]
