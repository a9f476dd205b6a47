"""Batches to Kafka: split where one request is full, tried again while it helps, never silently dropped."""

import asyncio
import gc
from collections import defaultdict
from typing import NamedTuple

import pytest
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from stream.metrics import Metrics
from stream.sender import (
    MAX_BATCH_BYTES,
    BatchSender,
    Outgoing,
    OutRecord,
    SendAbandonedError,
    SendFailedError,
)
from tests.builders import FrozenClock, never, unseen_failures

TP = tuple[str, int]


class Stored(NamedTuple):
    """A record as a broker keeps it."""

    key: bytes | None
    value: bytes | None
    timestamp: int | None
    headers: list[tuple[str, bytes]]


class Metadata(NamedTuple):
    """What a broker answers."""

    offset: int


HELD = Exception("no answer yet")


class ScriptedBroker:
    """Stands in for aiokafka's producer: real batches, and for each one sent the next scripted answer."""

    def __init__(self, *answers: Exception | None) -> None:
        self.logs: defaultdict[TP, list[Stored]] = defaultdict(list)
        self.batches: list[int] = []
        self.held: asyncio.Future[Metadata] | None = None
        self.stopped = False
        self._answers = list(answers)

    async def stop(self) -> None:
        self.stopped = True

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(MAX_BATCH_BYTES, 0)

    async def send_batch(
        self, batch: BatchBuilder, topic: str, *, partition: int
    ) -> "asyncio.Future[Metadata]":
        batch.close()
        future: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
        answer = self._answers.pop(0) if self._answers else None
        if answer is HELD:
            self.held = future
            return future
        if answer is not None:
            future.set_exception(answer)
            return future
        log = self.logs[topic, partition]
        future.set_result(Metadata(len(log)))
        stored = [
            Stored(one.key, one.value, one.timestamp, one.headers)
            for one in DefaultRecordBatch(batch._build())
        ]
        self.batches.append(len(stored))
        log.extend(stored)
        return future


class Sending(NamedTuple):
    """A sender with all that it works with."""

    sender: BatchSender
    broker: ScriptedBroker
    clock: FrozenClock
    metrics: Metrics

    def retries(self, error: type[Exception]) -> float:
        return float(self.metrics.send_retries.labels(error.__name__)._value.get())


def sending(*answers: Exception | None) -> Sending:
    broker, clock, metrics = ScriptedBroker(*answers), FrozenClock(), Metrics()
    sender = BatchSender({}, clock, metrics, linger_ms=0, idempotent=False)
    sender._producer = broker
    return Sending(sender, broker, clock, metrics)


def records(*values: bytes | None) -> list[OutRecord]:
    return [OutRecord(b"k", value) for value in values]


def values(log: list[Stored]) -> list[bytes | None]:
    return [one.value for one in log]


async def test_records_arrive_as_they_are_and_in_order() -> None:
    s = sending()
    record = OutRecord(b"k", b"v", [("h", b"1")], 1_700_000_000_123)

    await s.sender.send([Outgoing("t", 2, [record, OutRecord(None, b"x"), OutRecord(b"k", None)])], never)

    first, *rest = s.broker.logs["t", 2]
    assert first == Stored(b"k", b"v", 1_700_000_000_123, [("h", b"1")])
    assert [(one.key, one.value) for one in rest] == [(None, b"x"), (b"k", None)]


async def test_the_offset_of_the_last_record_of_each_comes_back() -> None:
    s = sending()
    s.broker.logs["t", 0].extend([Stored(None, b"", 0, [])] * 10)

    outgoing = [Outgoing("t", 0, records(b"a", b"b")), Outgoing("t", 1, []), Outgoing("u", 0, records(b"c"))]
    assert await s.sender.send(outgoing, never) == [11, -1, 0]


async def test_nothing_to_send_is_sent_at_once() -> None:
    s = sending()

    assert await s.sender.send([], never) == []
    assert await s.sender.send([Outgoing("t", 0, [])], lambda: True) == [-1]


async def test_more_than_a_request_holds_goes_in_several() -> None:
    s = sending()
    large = [bytes([number]) * 400_000 for number in range(5)]

    (offset,) = await s.sender.send([Outgoing("t", 0, records(*large))], never)

    assert (s.broker.batches, offset) == ([2, 2, 1], 4)
    assert values(s.broker.logs["t", 0]) == large


async def test_a_record_that_fills_a_request_alone_is_sent_alone() -> None:
    s = sending()
    large = b"x" * (MAX_BATCH_BYTES - 75)

    (offset,) = await s.sender.send([Outgoing("t", 0, records(b"a", large, b"b"))], never)

    assert (s.broker.batches, offset) == ([1, 1, 1], 2)


async def test_a_record_beyond_a_request_is_a_named_error_before_anything_is_sent() -> None:
    s = sending()

    with pytest.raises(SendFailedError, match=r"a record for t has 900002 bytes, one request holds 900000"):
        await s.sender.send([Outgoing("t", 0, records(b"a", b"x" * (MAX_BATCH_BYTES + 1)))], never)

    assert s.broker.batches == []


@pytest.mark.parametrize("error", [RequestTimedOutError, NotLeaderForPartitionError, KafkaTimeoutError])
async def test_what_may_work_again_is_tried_again_with_growing_pauses(error: type[KafkaError]) -> None:
    s = sending(error(), error(), error())

    assert await s.sender.send([Outgoing("t", 0, records(b"a"))], never) == [0]
    assert s.clock.slept == [0.1, 0.2, 0.5]
    assert s.retries(error) == 3


async def test_pauses_do_not_grow_beyond_five_seconds() -> None:
    s = sending(*(RequestTimedOutError() for _ in range(8)))

    await s.sender.send([Outgoing("t", 0, records(b"a"))], never)

    assert s.clock.slept == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]


async def test_only_what_failed_is_sent_again() -> None:
    s = sending(None, RequestTimedOutError(), None)

    outgoing = [Outgoing(topic, 0, records(topic.encode())) for topic in ("a", "b", "c")]
    assert await s.sender.send(outgoing, never) == [0, 0, 0]
    assert {topic: values(log) for (topic, _), log in s.broker.logs.items()} == {
        "a": [b"a"],
        "b": [b"b"],
        "c": [b"c"],
    }


async def test_when_one_of_several_requests_fails_all_of_that_partition_come_again_in_order() -> None:
    s = sending(RequestTimedOutError())
    large = [bytes([number]) * 400_000 for number in range(4)]

    (offset,) = await s.sender.send([Outgoing("t", 0, records(*large))], never)

    # the second request had arrived: two records stand there twice, and the last word is right
    assert values(s.broker.logs["t", 0]) == [*large[2:], *large]
    assert offset == 5


async def test_every_failed_request_is_looked_at() -> None:
    s = sending(RequestTimedOutError(), RequestTimedOutError())
    unseen = unseen_failures()

    await s.sender.send([Outgoing("t", 0, records(*[b"x" * 400_000] * 4))], never)

    gc.collect()  # a failure that nobody looked at is told when it is forgotten
    await asyncio.sleep(0)
    assert unseen == []


async def test_what_a_broker_refuses_for_good_ends_it_by_name() -> None:
    s = sending(MessageSizeTooLargeError())

    with pytest.raises(
        SendFailedError, match=r"t partition 3 refused a batch: .*MessageSizeTooLargeError"
    ) as caught:
        await s.sender.send([Outgoing("t", 3, records(b"a"))], never)

    assert isinstance(caught.value.__cause__, MessageSizeTooLargeError)
    assert s.clock.slept == []


async def test_what_is_no_answer_of_a_broker_is_not_swallowed() -> None:
    s = sending(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await s.sender.send([Outgoing("t", 0, records(b"a"))], never)


async def test_it_stops_trying_when_the_partitions_moved() -> None:
    s = sending(*(RequestTimedOutError() for _ in range(9)))
    asked = iter([False, True])

    with pytest.raises(SendAbandonedError):
        await s.sender.send([Outgoing("t", 0, records(b"a"))], lambda: next(asked))

    assert s.clock.slept == [0.1]
    assert s.broker.batches == []


async def test_nothing_is_sent_for_partitions_that_moved_already() -> None:
    s = sending()

    with pytest.raises(SendAbandonedError, match="the partitions moved while sending"):
        await s.sender.send([Outgoing("t", 0, records(b"a"))], lambda: True)

    assert s.broker.batches == []


async def test_what_is_under_way_is_waited_for_although_its_sender_was_cancelled() -> None:
    s = sending(HELD)
    send = asyncio.create_task(s.sender.send([Outgoing("t", 0, records(b"a"))], never))
    while s.broker.held is None:
        await asyncio.sleep(0)
    send.cancel()
    settling = asyncio.create_task(s.sender.settle(60.0))
    await asyncio.wait([send])
    assert not settling.done()

    s.broker.held.set_result(Metadata(0))
    await settling

    assert s.metrics.sends_given_up._value.get() == 0


async def test_with_nothing_under_way_there_is_nothing_to_wait_for() -> None:
    s = sending()
    await s.sender.send([Outgoing("t", 0, records(b"a"))], never)

    await s.sender.settle(60.0)


async def test_a_sender_that_stops_settles_what_is_under_way_and_sends_nothing_more() -> None:
    s = sending(HELD)
    send = asyncio.create_task(s.sender.send([Outgoing("t", 0, records(b"a"))], never))
    while s.broker.held is None:
        await asyncio.sleep(0)
    stopping = asyncio.create_task(s.sender.stop())
    await asyncio.sleep(0)
    with pytest.raises(SendAbandonedError):
        await s.sender.send([Outgoing("t", 0, records(b"b"))], never)
    assert not s.broker.stopped

    s.broker.held.set_result(Metadata(0))
    await stopping

    assert (await send, s.broker.stopped) == ([0], True)
