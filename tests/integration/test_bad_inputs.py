"""Every bad input through a real worker on a real broker: the right outcome, one count each, no restart, nothing lost."""

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.dead_letter import REASON_HEADER
from stream.erasure.marker import is_marker_key
from stream.events import CLICK_TOPIC, CONTROL_TOPIC, DEAD_LETTER_TOPIC
from stream.ingest import HOP_HEADER
from stream.partitioner import partitioner
from stream.state import decode_state
from tests.bad_inputs import MENDED, REJECTED, UNCHANGING
from tests.behaviour_feed import PARTITIONS
from tests.brokers import Broker, recreate_topics
from tests.builders import NOW_MS, USER, Record, days, event_value
from tests.worker_process import WorkerProcess, latest_by_key, read_topic, total

APP_ID = "bad-inputs"
PARTITION_OF = partitioner("murmur2", PARTITIONS)
KEY, CROWD, GONE = USER.encode(), b"crowd", b"gone"
HOME = PARTITION_OF(KEY)
AWAY = (HOME + 1) % PARTITIONS

Outcomes = Counter[tuple[str, str]]


def of_one_user() -> tuple[list[Record], Outcomes]:
    """The good click and all that is bad beside it, then the click once more, soon and late."""
    rows = [*UNCHANGING, *REJECTED, *MENDED]
    values = [event_value(), *(row.value for row in rows)]
    records = [Record(partition=HOME, value=value) for value in values]
    again = [
        Record(partition=HOME, value=event_value(), timestamp=NOW_MS + days(later)) for later in (0.5, 2)
    ]
    outcomes = Counter((row.outcome, row.reason) for row in rows)
    outcomes.update({("accepted", ""): 1, ("duplicate", ""): 1, ("late", ""): 1})
    return [*records, *again], outcomes


def of_a_crowd() -> tuple[list[Record], Outcomes]:
    """Row 53: a thousand events at one moment."""
    values = [event_value(user_id="crowd", event_id=f"{(number * 7) % 1000:03d}") for number in range(1000)]
    return [Record(partition=PARTITION_OF(CROWD), key=CROWD, value=value) for value in values], Counter(
        {("accepted", ""): 1000}
    )


def of_keys_and_partitions() -> tuple[list[Record], Outcomes]:
    """Rows 2, 3 and 69; what is produced once more comes again and is accepted."""
    hopped = [(HOP_HEADER, b"1")]
    records = [
        Record(partition=HOME),
        Record(partition=AWAY, key=None, value=event_value(event_id="row-3")),
        Record(partition=AWAY, value=event_value(event_id="row-69")),
        Record(partition=AWAY, value=event_value(event_id="row-69-twice"), headers=hopped),
        Record(CONTROL_TOPIC, PARTITION_OF(GONE), key=GONE),
        Record(CONTROL_TOPIC, PARTITION_OF(GONE), key=GONE, value=b""),
    ]
    outcomes = {
        ("ignored", "tombstone"): 1,
        ("reproduced", "null_key"): 1,
        ("reproduced", "repartitioned"): 1,
        ("rejected", "wrong_partition"): 1,
        ("accepted", ""): 1 + 2,
        ("rejected", "empty"): 1,
    }
    return records, Counter(outcomes)


async def send(broker: Broker, records: Sequence[Record]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=5)
    await producer.start()
    try:
        sent = [
            await producer.send(
                one.topic, one.value, one.key, one.partition, one.timestamp, headers=list(one.headers)
            )
            for one in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def uncommitted(broker: Broker) -> int:
    """Records of the inputs that the group has not committed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, group_id=APP_ID, enable_auto_commit=False
    )
    await consumer.start()
    try:
        tps = [
            TopicPartition(topic, number)
            for topic in (CLICK_TOPIC, CONTROL_TOPIC)
            for number in range(PARTITIONS)
        ]
        committed = {tp: await consumer.committed(tp) or 0 for tp in tps}
    finally:
        await consumer.stop()
    records = [*await read_topic(broker.bootstrap_servers, CLICK_TOPIC, PARTITIONS)]
    records += await read_topic(broker.bootstrap_servers, CONTROL_TOPIC, PARTITIONS)
    return sum(one.offset >= committed[TopicPartition(one.topic, one.partition)] for one in records)


def test_every_bad_input_has_its_outcome_and_the_stream_goes_on(broker: Broker, tmp_path: Path) -> None:
    asyncio.run(recreate_topics(broker, APP_ID))
    records: list[Record] = []
    expected: Outcomes = Counter()
    for part, outcomes in (of_one_user(), of_a_crowd(), of_keys_and_partitions()):
        records += part
        expected += outcomes

    worker = WorkerProcess(tmp_path, broker.bootstrap_servers, APP_ID=APP_ID, KAFKA__BROKER=broker.kind)
    with worker:
        asyncio.run(send(broker, records))
        samples = worker.until(lambda samples: total(samples, "events") >= expected.total())
        code = worker.end(signal.SIGTERM)

    counted: Outcomes = Counter()
    for name, value in samples.items():
        if name.startswith("interestflow_events_total|"):
            _, outcome, reason, _ = name.split("|")  # labels by name: outcome, reason, topic
            counted[outcome, reason] += int(value)
    letters = asyncio.run(read_topic(broker.bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS))
    changes = asyncio.run(
        read_topic(broker.bootstrap_servers, f"{APP_ID}-user-behaviour-changelog", PARTITIONS)
    )
    states = {
        key: decode_state(value)
        for key, value in latest_by_key(changes).items()
        if not is_marker_key(key)  # what will be left of GONE
    }

    assert (counted, code) == (expected, 0)
    assert Counter(dict(letter.headers)[REASON_HEADER].decode() for letter in letters) == Counter(
        {reason: count for (outcome, reason), count in expected.items() if outcome == "rejected"}
    )
    assert {key: state.revision for key, state in states.items()} == {
        KEY: 1 + len(MENDED) + 2, CROWD: 1000, GONE: 1,
    }  # fmt: skip
    assert states[GONE].erased_at_ms == NOW_MS
    assert asyncio.run(uncommitted(broker)) == 0
