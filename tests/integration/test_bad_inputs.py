"""Every bad input through a real worker on a real broker: the right outcome, one count each, no restart, nothing lost."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.dead_letter import ERROR_PREFIX, REASON_HEADER, REDACTED_HEADER, SOURCE_TOPIC_HEADER
from stream.embedded.ports import free_ports
from stream.erasure.marker import is_marker_key
from stream.events import (
    CAMPAIGNS_TOPIC,
    CLICK_TOPIC,
    CONTROL_TOPIC,
    DEAD_LETTER_TOPIC,
    DECISIONS_TOPIC,
    UPDATES_TOPIC,
)
from stream.foreign_headers import read_foreign_headers
from stream.partitioner import partitioner
from stream.reproducing import HOP_HEADER
from stream.state import decode_state
from tests.bad_inputs import COMPOSED, DECOMPOSED, MENDED, NAMES_A_PERSON, REJECTED, UNCHANGING
from tests.behaviour_feed import PARTITIONS
from tests.brokers import Broker, recreate_topics
from tests.builders import NOW_MS, USER, Record, days, event_value
from tests.hostile_batch import STAND_IN, spoilt
from tests.worker_process import REPOSITORY, WorkerProcess, latest_by_key, read_topic, total

APP_ID = "bad-inputs"
PARTITION_OF = partitioner("murmur2", PARTITIONS)
KEY, CROWD, GONE, FLOOD = USER.encode(), b"crowd", b"gone", b"flood"
SPELT = COMPOSED.encode()
HOME = PARTITION_OF(KEY)
AWAY = (HOME + 1) % PARTITIONS

Outcomes = Counter[tuple[str, str]]


@pytest.fixture(autouse=True)
def foreign_headers() -> Iterator[None]:
    """This process reads the hostile records, too."""
    undo = read_foreign_headers()
    yield
    undo()


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


def of_people_and_spellings() -> tuple[list[Record], Outcomes]:
    """Rows 28 and 31; the other spelling stands once on its own partition and once on that of the user."""
    records = [
        Record(partition=HOME, key=user.encode(), value=event_value(user_id=user)) for user in NAMES_A_PERSON
    ]
    composed, decomposed = COMPOSED.encode(), DECOMPOSED.encode()
    home = PARTITION_OF(composed)
    for number, partition in enumerate((home, (home + 1) % PARTITIONS)):
        value = event_value(user_id=DECOMPOSED, event_id=f"row-31-{number}")
        records.append(Record(partition=partition, key=decomposed, value=value))
    outcomes = {
        ("rejected", "pii_in_id"): len(NAMES_A_PERSON),
        ("normalised", "nfc_id"): 2,
        ("reproduced", "repartitioned"): 1,
    }
    return records, Counter(outcomes)


def of_ads() -> tuple[list[Record], Outcomes]:
    """Rows 32 and 33: a click on a known ad that was never shown, and two events of an unknown campaign."""
    known, unknown = {"cid": "campaign-1"}, {"cid": "unheard-of"}
    values = [
        event_value(event_id="row-32-ad", event_type="ad_click", ad=known, items=[]),
        event_value(event_id="row-33-shown", event_type="ad_impression", ad=unknown, items=[]),
        event_value(event_id="row-33-clicked", event_type="ad_click", ad=unknown, items=[]),
    ]
    outcomes = {("accepted", ""): 1, ("normalised", "unknown_campaign"): 2}
    return [Record(partition=HOME, value=value) for value in values], Counter(outcomes)


def of_floods() -> tuple[list[Record], Outcomes]:
    """Rows 58 and 67: one user at once 1,500 times, and 2,000 poisonous records as fast as they can be sent."""
    poison = [row.value for row in REJECTED if len(row.value) < 2000]
    flood = [event_value(user_id="flood", event_id=f"f{number}") for number in range(1500)]
    records = [Record(partition=PARTITION_OF(FLOOD), key=FLOOD, value=value) for value in flood]
    outcomes: Outcomes = Counter({("accepted", ""): 1024, ("throttled", ""): 476})
    reasons = [row.reason for row in REJECTED if len(row.value) < 2000]
    for number in range(2000):
        records.append(Record(partition=HOME, value=poison[number % len(poison)]))
        outcomes["rejected", reasons[number % len(poison)]] += 1
    return records, outcomes


def of_headers() -> tuple[list[Record], Outcomes]:
    """Row 66, all but the names that no Python client writes: see ``send_hostile_names``."""
    hostile = [("Faust-Ag-ReplyTo", UPDATES_TOPIC.encode()), ("Faust-Ag-CorrelationId", b"\xff")]
    many = [(f"h{number}", b"\x00\xff") for number in range(10_000)]
    value = event_value(event_id="row-66")
    return [Record(partition=HOME, value=value, headers=[*hostile, *many])], Counter({("accepted", ""): 1})


async def send_hostile_names(broker: Broker) -> None:
    """Row 66: two records of one batch, one with a header name that is not UTF-8."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    try:
        batch = producer.create_batch()
        for number, names in enumerate(([], [(STAND_IN, b"x")])):
            value = event_value(event_id=f"row-66-name-{number}")
            batch.append(key=KEY, value=value, timestamp=NOW_MS, headers=names)
        batch.close()
        batch._buffer = spoilt(batch._build())
        await (await producer.send_batch(batch, CLICK_TOPIC, partition=HOME))
    finally:
        await producer.stop()


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


def campaign(cid: str = "campaign-1") -> Record:
    """One that is known when the worker starts."""
    value = {
        "cid": cid, "name": "tea", "seat": "shop", "starts_at_ms": NOW_MS - days(1),
        "ends_at_ms": NOW_MS + days(30), "status": "active", "bid_cpm": 1.0,
        "creatives": [{"crid": "c", "title": "tea", "categories": ["tea"]}],
    }  # fmt: skip
    return Record(CAMPAIGNS_TOPIC, 0, key=cid.encode(), value=orjson.dumps(value))


def worker_process(directory: Path, broker: Broker, **settings: str) -> WorkerProcess:
    """A worker that reads the campaigns and whose model never answers."""
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID=APP_ID,
        KAFKA__BROKER=broker.kind,
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(REPOSITORY / "triton_models"),
        MODEL__GRPC_URL=f"127.0.0.1:{free_ports(1)[0]}",
        **settings,
    )


def counts(samples: Mapping[str, float], metric: str) -> dict[tuple[str, ...], int]:
    """A counter by its labels, which stand in the order of their names."""
    return {
        tuple(name.split("|")[1:]): int(value)
        for name, value in samples.items()
        if name.split("|")[0] == f"interestflow_{metric}_total" and value
    }


def test_every_bad_input_has_its_outcome_and_the_stream_goes_on(broker: Broker, tmp_path: Path) -> None:
    asyncio.run(recreate_topics(broker, APP_ID))
    asyncio.run(send(broker, [campaign()]))
    records: list[Record] = []
    expected: Outcomes = Counter()
    for part, outcomes in (
        of_one_user(),
        of_a_crowd(),
        of_keys_and_partitions(),
        of_people_and_spellings(),
        of_ads(),
        of_headers(),
        of_floods(),
    ):
        records += part
        expected += outcomes

    with worker_process(tmp_path, broker) as worker:
        asyncio.run(send(broker, records))
        asyncio.run(send_hostile_names(broker))
        expected["accepted", ""] += 2
        worker.until(lambda samples: total(samples, "events") >= expected.total())
        # Row 64: an event of the user who is erased by now.
        straggler = event_value(user_id="gone", event_id="row-64")
        asyncio.run(send(broker, [Record(partition=PARTITION_OF(GONE), key=GONE, value=straggler)]))
        expected["erased", ""] += 1
        # The key of who was erased goes a moment later; a worker that is told to stop leaves that to its next start.
        samples = worker.until(
            lambda samples: (
                total(samples, "events") >= expected.total()
                and GONE not in latest_by_key(asyncio.run(_changes(broker)))
            )
        )
        code = worker.end(signal.SIGTERM)

    counted: Outcomes = Counter()
    for (outcome, reason, _), count in counts(samples, "events").items():
        counted[outcome, reason] += count
    letters = asyncio.run(read_topic(broker.bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS))
    changes = asyncio.run(
        read_topic(broker.bootstrap_servers, f"{APP_ID}-user-behaviour-changelog", PARTITIONS)
    )
    states = {
        key: decode_state(value) for key, value in latest_by_key(changes).items() if not is_marker_key(key)
    }

    assert (counted, code) == (expected, 0)
    assert Counter(dict(letter.headers)[REASON_HEADER].decode() for letter in letters) == Counter(
        {reason: count for (outcome, reason), count in expected.items() if outcome == "rejected"}
    )
    assert {key: state.revision for key, state in states.items()} == {
        KEY: 1 + len(MENDED) + 2 + 3 + 3, CROWD: 1000, SPELT: 2, FLOOD: 1024,
    }  # fmt: skip
    assert [len(states[key].window) for key in (CROWD, FLOOD)] == [64, 64]
    assert [
        decode_state(value).erased_at_ms  # what is left of GONE
        for key, value in latest_by_key(changes).items()
        if is_marker_key(key)
    ] == [NOW_MS]
    redacted = [letter for letter in letters if REDACTED_HEADER in dict(letter.headers)]
    assert [(letter.key, letter.value) for letter in redacted] == [(None, None)] * len(NAMES_A_PERSON)
    assert counts(samples, "events_unattributed")["click_without_impression", CLICK_TOPIC] == 1
    assert asyncio.run(uncommitted(broker)) == 0


def test_row_12_a_decision_over_the_limit_is_a_dead_letter_and_its_update_goes_out(
    broker: Broker, tmp_path: Path
) -> None:
    asyncio.run(recreate_topics(broker, APP_ID))
    # A decision lists all of them: 3,000 times their longest id and some 150 bytes.
    asyncio.run(send(broker, [campaign(f"{number:0>256}") for number in range(3000)]))

    with worker_process(tmp_path, broker) as worker:
        asyncio.run(send(broker, [Record(partition=HOME, value=event_value())]))
        worker.until(lambda samples: total(samples, "dead_letters") >= 1)
        asyncio.run(send(broker, [Record(partition=HOME, value=event_value(event_id="after"))]))
        samples = worker.until(lambda samples: total(samples, "dead_letters") >= 2)
        code = worker.end(signal.SIGTERM)

    letters = asyncio.run(read_topic(broker.bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS))
    updates = asyncio.run(read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
    told = [dict(letter.headers) for letter in letters]
    assert code == 0
    assert counts(samples, "dead_letters") == {("output_too_large", DECISIONS_TOPIC): 2}
    assert [(letter.key, one[REASON_HEADER]) for letter, one in zip(letters, told, strict=True)] == [
        (KEY, b"output_too_large")
    ] * 2
    assert [(one[SOURCE_TOPIC_HEADER], one[ERROR_PREFIX + "offset"]) for one in told] == [
        (DECISIONS_TOPIC.encode(), b"-1")
    ] * 2
    assert [update.key for update in updates] == [KEY] * 2
    assert asyncio.run(read_topic(broker.bootstrap_servers, DECISIONS_TOPIC, PARTITIONS)) == []
    assert asyncio.run(uncommitted(broker)) == 0


def test_row_64_events_of_an_erased_user_are_dropped_also_after_the_key_is_gone_and_after_a_restart(
    broker: Broker, tmp_path: Path
) -> None:
    asyncio.run(recreate_topics(broker, APP_ID))
    home = PARTITION_OF(GONE)
    erasure = Record(CONTROL_TOPIC, home, key=GONE, timestamp=NOW_MS + 1)

    def straggler(number: int) -> Record:
        value = event_value(user_id="gone", event_id=f"straggler-{number}")
        return Record(partition=home, key=GONE, value=value, timestamp=NOW_MS + 2)

    with worker_process(tmp_path, broker) as worker:
        asyncio.run(send(broker, [Record(partition=home, key=GONE, value=event_value(user_id="gone"))]))
        worker.until(lambda samples: total(samples, "interest_updates") >= 1)
        asyncio.run(send(broker, [erasure]))
        worker.until(lambda samples: total(samples, "events") >= 2)  # topics are not read in step
        asyncio.run(send(broker, [straggler(1)]))
        worker.until(lambda samples: total(samples, "events") >= 3 and samples["interestflow_due_users"] == 0)
        buried = latest_by_key(asyncio.run(_changes(broker)))
        asyncio.run(send(broker, [straggler(1)]))
        first = worker.until(lambda samples: total(samples, "events") >= 4)
        assert worker.end(signal.SIGTERM) == 0
        worker.start()
        asyncio.run(send(broker, [straggler(2)]))
        second = worker.until(lambda samples: total(samples, "events") >= 1)
        assert worker.end(signal.SIGTERM) == 0

    updates = asyncio.run(read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
    assert [is_marker_key(key) for key in buried] == [True]
    assert counts(first, "events")["erased", "", CLICK_TOPIC] == 2
    assert counts(second, "events") == {("erased", "", CLICK_TOPIC): 1}
    assert [is_marker_key(key) for key in latest_by_key(asyncio.run(_changes(broker)))] == [True]
    assert latest_by_key(updates) == {}
    assert updates[-1].value is None
    assert asyncio.run(uncommitted(broker)) == 0


async def _changes(broker: Broker) -> list[Any]:
    return await read_topic(broker.bootstrap_servers, f"{APP_ID}-user-behaviour-changelog", PARTITIONS)


def test_row_61_users_beyond_the_cap_are_forgotten_everywhere(broker: Broker, tmp_path: Path) -> None:
    asyncio.run(recreate_topics(broker, APP_ID))
    users = [f"once-{number}" for number in range(400)]
    records = [
        Record(
            partition=PARTITION_OF(user.encode()),
            key=user.encode(),
            value=event_value(user_id=user),
            timestamp=NOW_MS + number,
        )
        for number, user in enumerate(users)
    ]

    with worker_process(tmp_path, broker, STORE__MAX_USERS="100") as worker:
        asyncio.run(send(broker, records))
        # Without a model those who are kept stay due; of those forgotten nobody is once the last update is withdrawn.
        samples = worker.until(
            lambda samples: (
                total(samples, "events") == 400
                and samples["interestflow_due_users"] <= samples["interestflow_users"] <= 100
            )
        )
        code = worker.end(signal.SIGTERM)

    changes = asyncio.run(
        read_topic(broker.bootstrap_servers, f"{APP_ID}-user-behaviour-changelog", PARTITIONS)
    )
    kept = latest_by_key(changes)
    updates = asyncio.run(read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
    assert (code, counts(samples, "events")) == (0, {("accepted", "", CLICK_TOPIC): 400})
    assert len(kept) <= 100
    assert total(samples, "users_evicted") == 400 - len(kept)
    assert latest_by_key(updates).keys() <= kept.keys()
