"""``interestflow dlq`` on real brokers: what a worker rejected is found, explained, replayed once, and deleted."""

import asyncio
import re
import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner, Result

from stream.cli import app
from stream.dead_letter import LETTER_HEADER, dead_letter
from stream.dlq.letters import is_marker
from stream.embedded.ports import LOOPBACK, free_ports
from stream.errors import ConfigurationError, RejectionError, TransientError
from stream.events import CLICK_TOPIC, DEAD_LETTER_TOPIC
from stream.partitioner import partitioner
from stream.reproducing import HOP_HEADER
from stream.settings import known_variables
from stream.state import decode_state
from tests.behaviour_feed import PARTITIONS
from tests.brokers import Broker, delete_topics, recreate_topics
from tests.builders import NOW_MS, USER, Record, event_value
from tests.worker_process import REPOSITORY, WorkerProcess, latest_by_key, read_topic, total

APP_ID = "dlq"
KEY = USER.encode()
HOME = partitioner("murmur2", PARTITIONS)(KEY)
AWAY = (HOME + 1) % PARTITIONS
DOCS = REPOSITORY / "docs"
#: What the runbook leaves open.
FILLED_IN = {"TOPIC": CLICK_TOPIC, "REASON": "json", "PARTITION:OFFSET": "2:0"}

Run = Callable[[str], str]


@pytest.fixture
def run(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command with emptied topics; gives what it prints."""
    asyncio.run(recreate_topics(broker, APP_ID))
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INTERESTFLOW_APP_ID", APP_ID)
    monkeypatch.setenv("INTERESTFLOW_VIRTUAL_TIME", "true")
    monkeypatch.setenv("INTERESTFLOW_KAFKA__BROKER", broker.kind)
    monkeypatch.setenv("INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    return lambda command: output(invoke(command))


def invoke(command: str) -> Result:
    return CliRunner().invoke(app, shlex.split(command))


def commands(page: Path) -> list[str]:
    """What a page tells to type, in indented blocks, without comments."""
    lines = re.findall(
        r"^ {4,}interestflow (dlq .*?)(?:  +#.*)?$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    for name, text in FILLED_IN.items():
        lines = [line.replace(name, text) for line in lines]
    return lines


def output(result: Result) -> str:
    if result.exception is not None:
        raise result.exception
    return result.output.strip()


async def send(broker: Broker, records: Sequence[Record]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    try:
        for one in records:
            await producer.send_and_wait(
                one.topic, one.value, one.key, one.partition, one.timestamp, headers=list(one.headers)
            )
    finally:
        await producer.stop()


def read(broker: Broker, topic: str) -> list[Record]:
    return asyncio.run(read_topic(broker.bootstrap_servers, topic, PARTITIONS))


def written_letter(reason: str, record: Record) -> Record:
    """As a worker would write it, at the end of its partition."""
    letter = dead_letter(record, RejectionError(reason, "made for a test"), "1.2.3")
    return Record(DEAD_LETTER_TOPIC, record.partition, 0, NOW_MS, *letter)


def test_what_a_worker_rejected_is_replayed_once_and_folded_or_rejected_again(
    broker: Broker, run: Run, tmp_path: Path
) -> None:
    misplaced = event_value(event_id="misplaced")
    records = [
        Record(partition=HOME, value=event_value()),
        Record(partition=2, key=b"a", value=b"{not json"),
        Record(partition=AWAY, value=misplaced, headers=[(HOP_HEADER, b"1")]),
        Record(partition=0, key=b"b", value=b"x" * 70_000),
    ]

    with WorkerProcess(
        tmp_path, broker.bootstrap_servers, APP_ID=APP_ID, KAFKA__BROKER=broker.kind
    ) as worker:
        asyncio.run(send(broker, records))
        worker.until(lambda samples: total(samples, "events") >= 4)
        stats = orjson.loads(run("dlq stats --json"))
        planned = run("dlq replay")
        sent_by_plan = len(read(broker, CLICK_TOPIC)) - len(records)
        replayed = run("dlq replay --yes")
        worker.until(lambda samples: total(samples, "events") >= 6)
        planned_then = run("dlq replay")
        listed = [orjson.loads(line) for line in run("dlq list --json").split("\n")]
        code = worker.end(signal.SIGTERM)

    assert stats["by_reason"] == {"json": 1, "wrong_partition": 1, "too_large": 1}
    assert planned.split("\n")[0] == "would replay 2: 2 to behaviour.click"
    assert planned.split("\n")[-1] == "nothing was sent; add --yes to do it"
    assert sent_by_plan == 0
    cut = "1 stay: cut: only the start of the key or value was kept, so the producer must send them anew"
    assert replayed.split("\n") == ["2 of 2 replayed", "replayed 2: 2 to behaviour.click", cut]
    assert planned_then.split("\n")[:3] == [
        "would replay 1: 1 to behaviour.click",
        cut,
        "2 stay: replayed already (--again sends them once more)",
    ]

    sent = [record for record in read(broker, CLICK_TOPIC) if LETTER_HEADER in dict(record.headers)]
    assert {(one.partition, one.key, one.value, one.timestamp) for one in sent} == {
        (partitioner("murmur2", PARTITIONS)(b"a"), b"a", b"{not json", NOW_MS),
        (HOME, KEY, misplaced, NOW_MS),
    }
    again = next(line for line in listed if line["attempt"] == 2)
    assert (again["reason"], again["replayed"], sum(line["replayed"] for line in listed)) == (
        "json",
        False,
        2,
    )
    assert "2, replayed from 2:0" in run(f"dlq why {again['letter']}")
    changes = latest_by_key(read(broker, f"{APP_ID}-user-behaviour-changelog"))
    assert {key: decode_state(value).revision for key, value in changes.items()} == {KEY: 2}
    assert code == 0


def test_every_command_of_the_runbook_and_the_page_works_as_it_stands(broker: Broker, run: Run) -> None:
    letters = [
        written_letter("json", Record(partition=2, value=b"{not json")),
        written_letter("wrong_partition", Record(partition=1, value=event_value())),
        written_letter("key_mismatch", Record(partition=2, key=b"a", value=event_value())),
    ]
    asyncio.run(send(broker, letters))

    of_runbook, of_page = (
        commands(DOCS / "runbooks" / "dead-letters-many.md"),
        commands(DOCS / "dead-letters.md"),
    )
    outputs = {}
    for command in [*of_runbook, *of_page]:
        result = invoke(command)
        deletes = "purge" in command and "--yes" in command
        if deletes and broker.kind == "tansu":
            assert isinstance(result.exception, ConfigurationError)
            assert "it must know DeleteRecords" in str(result.exception)
        else:
            outputs[command] = output(result)

    assert (len(of_runbook), len(of_page)) == (4, 12)
    assert {command.split()[1] for command in of_page} == {"list", "why", "stats", "replay", "purge"}
    assert outputs["dlq list"].endswith("3 of 3; `interestflow dlq why LETTER` says more of one")
    assert outputs["dlq replay --reason wrong_partition --yes"].endswith("replayed 1: 1 to behaviour.click")
    if broker.kind == "kafka":
        assert all(is_marker(record) for record in read(broker, DEAD_LETTER_TOPIC))


@pytest.mark.parametrize("broker", [pytest.param("kafka_node", marks=pytest.mark.kafka)], indirect=True)
def test_a_purge_leaves_what_stands_behind_it(broker: Broker, run: Run) -> None:
    letters = [written_letter("json", Record(partition=2, offset=number)) for number in range(5)]
    asyncio.run(send(broker, [*letters, written_letter("json", Record(partition=0))]))

    told = run("dlq purge --through 2:2 --yes")

    assert told == "deleted 3 dead letters, 3 of them never replayed: partition 2 before offset 3"
    left = [(record.partition, record.offset) for record in read(broker, DEAD_LETTER_TOPIC)]
    assert left == [(0, 0), (2, 3), (2, 4)]
    assert orjson.loads(run("dlq stats --json"))["letters"] == 3
    with pytest.raises(ConfigurationError, match="there is no dead letter at 2:1: it was deleted"):
        run("dlq why 2:1")


def test_an_empty_dead_letter_topic_is_no_error(run: Run) -> None:
    assert run("dlq list") == "no dead letter fits"
    assert run("dlq list --json") == ""
    assert run("dlq stats").startswith("0 dead letters")
    assert run("dlq replay --yes") == "no dead letter fits; nothing is replayed"
    assert run("dlq purge --before 0s --yes") == "no dead letter stands before that; nothing is deleted"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("dlq list --reason jsn", "no reason is called jsn: there are control"),
        ("dlq purge", "say either --before TIME or --through PARTITION:OFFSET"),
        ("dlq purge --before 7d --through 2:0", "say either --before TIME or --through PARTITION:OFFSET"),
        ("dlq replay somewhere", "'somewhere' is no place of a dead letter"),
        ("dlq stats --since soon", "'soon' is no time"),
    ],
)
def test_what_is_mistyped_is_said_before_anything_is_read(command: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        output(invoke(command))


@pytest.mark.parametrize("command", ["dlq list", "dlq replay --yes", "dlq purge --before 7d --yes"])
def test_without_a_broker_it_says_which_and_what_to_check(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = f"{LOOPBACK}:{free_ports(1)[0]}"
    monkeypatch.setenv("INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS", servers)

    with pytest.raises(TransientError, match=f"the Kafka at {servers} can't be read now; check that it runs"):
        output(invoke(command))


def test_without_the_topic_it_says_how_to_make_it(broker: Broker, run: Run) -> None:
    asyncio.run(delete_topics(broker.bootstrap_servers, [DEAD_LETTER_TOPIC]))

    with pytest.raises(
        ConfigurationError,
        match=f"has no topic {DEAD_LETTER_TOPIC}: create it with `interestflow topics create`",
    ):
        run("dlq stats")
