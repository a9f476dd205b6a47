"""``interestflow record`` on real brokers: every record once, also over a kill, and what is rejected with its reason."""

import asyncio
import importlib
from collections import Counter
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from stream.archive.command import RecordOptions, record_events
from stream.archive.files import FILE_PATTERN
from stream.cli import app
from stream.clock import SystemClock
from stream.errors import ConfigurationError
from stream.events import CLICK_TOPIC, PURCHASE_TOPIC
from stream.settings import known_variables, load_settings
from tests.brokers import Broker, recreate_topics
from tests.builders import NOW_MS, event_value

APP_ID = "record"
files = importlib.import_module("stream.archive.files")


@pytest.fixture
def kafka(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Broker:
    asyncio.run(recreate_topics(broker, APP_ID))
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INTERESTFLOW_APP_ID", APP_ID)
    monkeypatch.setenv("INTERESTFLOW_VIRTUAL_TIME", "true")
    monkeypatch.setenv("INTERESTFLOW_KAFKA__BROKER", broker.kind)
    monkeypatch.setenv("INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    return broker


async def send(broker: Broker, first: int, count: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    try:
        for number in range(first, first + count):
            user, topic = f"user-{number % 5}", (CLICK_TOPIC, PURCHASE_TOPIC)[number % 2]
            value = event_value(
                user_id=user, event_id=f"e{number}", event_type=("click", "purchase")[number % 2]
            )
            await producer.send_and_wait(topic, value, key=user.encode(), timestamp_ms=NOW_MS + number)
        await producer.send_and_wait(CLICK_TOPIC, b"no json", key=b"user-1", timestamp_ms=NOW_MS)
    finally:
        await producer.stop()


def record(out: Path, **options: int) -> None:
    asyncio.run(record_events(RecordOptions(out, **options), load_settings(), SystemClock()))  # type: ignore[arg-type]


def kept(out: Path) -> tuple[Counter[str], Counter[str]]:
    """Event ids and reasons."""
    rows = [row for path in out.glob(FILE_PATTERN) for row in pq.read_table(path).to_pylist()]
    accepted = [orjson.loads(row["value"])["event_id"] for row in rows if not row["reason"]]
    return Counter(accepted), Counter(row["reason"] for row in rows if row["reason"])


def test_every_record_is_kept_once_with_its_reason_if_it_is_bad(kafka: Broker, tmp_path: Path) -> None:
    asyncio.run(send(kafka, 0, 20))

    said = CliRunner().invoke(app, ["record", "--out", str(tmp_path / "archive")], catch_exceptions=False)

    assert said.output == f"{tmp_path / 'archive'} holds 20 events, 1 rejected as json\n"
    assert kept(tmp_path / "archive") == (Counter(f"e{number}" for number in range(20)), Counter(["json"]))


def test_a_kill_loses_nothing_and_keeps_nothing_twice(
    kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(send(kafka, 0, 40))
    written = 0
    flush = files.ArchiveWriter.flush

    def killed_in_the_third(writer: object) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise KeyboardInterrupt
        flush(writer)

    with monkeypatch.context() as patched:
        patched.setattr(files, "_ROWS_PER_FILE", 7)
        patched.setattr(files.ArchiveWriter, "flush", killed_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            record(tmp_path / "archive")
    assert sum(kept(tmp_path / "archive")[0].values()) < 40

    record(tmp_path / "archive")

    assert kept(tmp_path / "archive") == (Counter(f"e{number}" for number in range(40)), Counter(["json"]))


def test_an_archive_is_gone_on_with(kafka: Broker, tmp_path: Path) -> None:
    asyncio.run(send(kafka, 0, 6))
    record(tmp_path / "archive", max_events=3)
    record(tmp_path / "archive")
    asyncio.run(send(kafka, 6, 6))

    record(tmp_path / "archive")

    assert kept(tmp_path / "archive") == (
        Counter(f"e{number}" for number in range(12)),
        Counter({"json": 2}),
    )


def test_another_topic_is_no_input(kafka: Broker, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"other\.topic is no behaviour topic"):
        asyncio.run(
            record_events(
                RecordOptions(tmp_path / "archive", topics=("other.topic",)), load_settings(), SystemClock()
            )
        )
