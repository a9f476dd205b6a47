"""Erasure through a real worker (G12): in force nowhere at once, and after the promised time in no file at all."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from typer.testing import CliRunner

from stream.cli import app
from stream.clock import SystemClock, pause
from stream.embedded.triton_server import BundledTriton
from stream.events import (
    BROWSE_TOPIC,
    CAMPAIGNS_TOPIC,
    CLICK_TOPIC,
    DEAD_LETTER_TOPIC,
    DECISIONS_TOPIC,
    PURCHASE_TOPIC,
    TEXTS_TOPIC,
    UPDATES_TOPIC,
)
from stream.partitioner import partitioner
from stream.topic_specs import service_topics
from stream.topics import create_topics
from tests.behaviour_feed import PARTITIONS, Fed, produce
from tests.brokers import Broker, recreate_topics
from tests.conftest import unavailable
from tests.kafka_node import KafkaNode, KafkaUnavailableError
from tests.worker_process import REPOSITORY, WorkerProcess, latest_by_key, read_topic, total

_MODELS: Final = REPOSITORY / "triton_models"
_APP: Final = "erasure"
_USER: Final = "shopper-who-left"
_OTHERS: Final = tuple(f"shopper-{number}" for number in range(12))
_SEARCHED: Final = "unmistakable quince paste"
_HOME: Final = partitioner("murmur2", PARTITIONS)
#: What the topics of the fast node promise, ms.
_RETENTION_MS: Final = 10_000
_COMPACTION_MS: Final = 1_000
_SEGMENT_MS: Final = 1_000


@pytest.fixture(scope="module")
def triton(stub_python: Path) -> Iterator[BundledTriton]:
    with BundledTriton(_MODELS, stub_python, models=["behaviour_encoder", "interest_head"]) as server:
        yield server


@pytest.fixture
def fast_node(tmp_path: Path) -> Iterator[KafkaNode]:
    """A node that looks for what to compact and delete all the time."""
    often = {
        "log.cleaner.backoff.ms": "200",
        "log.retention.check.interval.ms": "500",
        "log.initial.task.delay.ms": "500",
        "log.segment.delete.delay.ms": "500",
    }
    (tmp_path / "kafka-node").mkdir()
    try:
        node = KafkaNode(tmp_path / "kafka-node", properties=often)
    except KafkaUnavailableError as error:
        unavailable(str(error))
    with node:
        yield node


def _worker(directory: Path, broker: Broker, triton: BundledTriton, **settings: str) -> WorkerProcess:
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID=_APP,
        KAFKA__BROKER=broker.kind,
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(_MODELS),
        MODEL__GRPC_URL=triton.grpc_url,
        SCORE__MIN_INTERVAL_SECONDS="0.2",
        SCORE__CHANGE_THRESHOLD="0",
        PRIVACY__MARKER_SECRET="kept apart",
        STORE__BACKEND="rocksdb",
        **settings,
    )


def _event(user: str, number: int, **changes: Any) -> Fed:
    now_ms = SystemClock().wall_ms()
    item = {"item_id": "1", "item_name": "brie", "item_category": "deli", "item_category2": "cheese"}
    event = {
        "event_id": f"{user}-event-{number}",
        "event_type": "purchase",
        "user_id": user,
        "occurred_at_ms": now_ms,
        "items": [item],
        **changes,
    }
    topic = {"purchase": PURCHASE_TOPIC, "click": CLICK_TOPIC}.get(event["event_type"], BROWSE_TOPIC)
    return Fed(topic, _HOME(user.encode()), user.encode(), orjson.dumps(event), now_ms)


def _life(user: str) -> list[Fed]:
    """A purchase, clicks, a search and a record that can't be used."""
    bad = _event(user, 0)._replace(value=b'{"user_id":"%s", broken' % user.encode())
    return [
        _event(user, 1),
        _event(user, 2, event_type="click"),
        _event(user, 3, event_type="search", items=[], search_term=_SEARCHED),
        bad,
    ]


def _campaign() -> Fed:
    now_ms = SystemClock().wall_ms()
    campaign = {
        "cid": "cheese",
        "name": "cheese",
        "seat": "shop",
        "starts_at_ms": now_ms - 1000,
        "ends_at_ms": now_ms + 10**9,
        "status": "active",
        "bid_cpm": 5.0,
        "creatives": [{"crid": "1", "title": "cheese", "categories": ["cheese"]}],
    }
    return Fed(CAMPAIGNS_TOPIC, 0, b"cheese", orjson.dumps(campaign), now_ms)


def _erase(
    worker: WorkerProcess, report: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, dict[str, Any]]:
    for name, value in worker.environment.items():
        if name.startswith("INTERESTFLOW_"):
            monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["erase", _USER, "--json", str(report), "--wait", "60"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, orjson.loads(report.read_bytes())


def _idle(samples: Any, folded: int) -> bool:
    return bool(total(samples, "events") >= folded and samples["interestflow_due_users"] == 0)


def _places(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {place["place"].removesuffix(" here").split("/")[-1]: place for place in report["places"]}


def test_a_user_is_erased_and_buried_and_stragglers_stay_out_over_a_restart(
    broker: Broker, triton: BundledTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(recreate_topics(broker, _APP))
    first = [event for user in (_USER, *_OTHERS[:3]) for event in _life(user)]

    asyncio.run(produce(broker.bootstrap_servers, [_campaign()]))
    with _worker(tmp_path, broker, triton) as worker:
        asyncio.run(produce(broker.bootstrap_servers, first))
        worker.until(lambda samples: _idle(samples, len(first)))
        before = asyncio.run(read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
        code, report = _erase(worker, tmp_path / "report.json", monkeypatch)
        worker.end(signal.SIGTERM)
        worker.start()
        asyncio.run(produce(broker.bootstrap_servers, [_event(_USER, 9), _event(_OTHERS[0], 9)]))
        samples = worker.until(lambda samples: _idle(samples, 2))
        worker.end(signal.SIGTERM)

    assert _USER.encode() in latest_by_key(before)
    assert code == 0
    assert (report["carried_out"], report["complete"]) == (True, True)
    places = _places(report)
    assert places[DECISIONS_TOPIC]["found_by_key"] >= 1
    assert places[DEAD_LETTER_TOPIC]["found_by_key"] == 1
    assert (places[TEXTS_TOPIC]["mechanism"], places[TEXTS_TOPIC]["gone_by_ms"]) == ("no reference", 0)
    assert [places[table]["found_by_key"] for table in ("user-behaviour", "user-scores")] == [0, 0]
    assert sum(value for name, value in samples.items() if "_total|erased|" in name) == 1
    for topic in (UPDATES_TOPIC, f"{_APP}-user-behaviour-changelog", f"{_APP}-user-scores-changelog"):
        records = asyncio.run(read_topic(broker.bootstrap_servers, topic, PARTITIONS))
        assert _USER.encode() not in latest_by_key(records)
        assert _OTHERS[0].encode() in latest_by_key(records)
    texts = latest_by_key(asyncio.run(read_topic(broker.bootstrap_servers, TEXTS_TOPIC, PARTITIONS)))
    assert b"brie, cheese, deli" in texts.values()
    assert _SEARCHED.encode() not in texts.values()


def test_an_erasure_is_completed_by_a_worker_without_a_model(
    broker: Broker, triton: BundledTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores and updates are there from when it had one."""
    asyncio.run(recreate_topics(broker, _APP))
    first = [event for user in (_USER, *_OTHERS[:3]) for event in _life(user)]

    with _worker(tmp_path, broker, triton) as worker:
        asyncio.run(produce(broker.bootstrap_servers, first))
        worker.until(lambda samples: _idle(samples, len(first)))
        worker.end(signal.SIGTERM)
        before = asyncio.run(read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
        worker.environment["INTERESTFLOW_MODEL__ENABLED"] = "false"
        worker.start()
        worker.until(lambda samples: samples["interestflow_ready"] == 1)
        code, report = _erase(worker, tmp_path / "report.json", monkeypatch)
        ended = worker.end(signal.SIGTERM)

    assert _USER.encode() in latest_by_key(before)
    assert (code, ended) == (0, 0)
    assert (report["carried_out"], report["complete"]) == (True, True)
    for topic in (UPDATES_TOPIC, f"{_APP}-user-behaviour-changelog", f"{_APP}-user-scores-changelog"):
        latest = latest_by_key(asyncio.run(read_topic(broker.bootstrap_servers, topic, PARTITIONS)))
        assert _USER.encode() not in latest
        assert _OTHERS[0].encode() in latest


def test_without_a_worker_the_report_says_that_nothing_was_done(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(recreate_topics(broker, _APP))
    monkeypatch.setenv("INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("INTERESTFLOW_APP_ID", _APP)
    monkeypatch.setenv("INTERESTFLOW_VIRTUAL_TIME", "true")

    done = CliRunner().invoke(app, ["erase", _USER, "--wait", "0.5"])

    assert done.exit_code == 1
    assert "no worker carried it out within 0.5 s" in done.output


@pytest.mark.kafka
def test_g12_after_the_promised_time_no_file_of_any_store_or_topic_holds_the_user(
    fast_node: KafkaNode,
    triton: BundledTriton,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    broker = Broker("kafka", fast_node.bootstrap_servers)
    _create_impatient_topics(broker)
    first = [event for user in (_USER, *_OTHERS) for event in _life(user)]
    stores = [tmp_path / "kafka-node" / "data", tmp_path / "state"]

    asyncio.run(produce(broker.bootstrap_servers, [_campaign()]))
    with _worker(tmp_path, broker, triton, VIRTUAL_TIME="false") as worker:
        worker.until(
            lambda samples: samples["interestflow_ready"] == 1
        )  # or its input is gone before it reads
        asyncio.run(produce(broker.bootstrap_servers, first))
        samples = worker.until(lambda samples: _idle(samples, len(first)))
        record_property("events_in", len(first))
        record_property("lost", len(first) - int(total(samples, "events")))
        held, asked_ms = _files_that_name_the_user(stores), SystemClock().wall_ms()
        code, report = _erase(worker, tmp_path / "report.json", monkeypatch)
        deadline_ms = report["gone_by_ms"]
        left = _until_gone(broker, stores, deadline_ms)
        worker.end(signal.SIGTERM)
    record_property("files_with_the_user_before", len(held))
    record_property("files_with_the_user_after", len(left))
    record_property("promised_seconds", ((deadline_ms or asked_ms) - asked_ms) // 1000)

    assert held, "the search would find nothing whatever is there"
    assert (code, report["complete"]) == (0, True)
    assert deadline_ms is not None
    assert left == []


def _create_impatient_topics(broker: Broker) -> None:
    """The service's topics with times of seconds: shorter than the longest allowed, so they fit."""
    specs = []
    for spec in service_topics(_APP, PARTITIONS, virtual_time=False):
        config = {**spec.config, "segment.ms": str(_SEGMENT_MS)}
        if spec.compacted:
            config |= {
                "max.compaction.lag.ms": str(_COMPACTION_MS),
                "min.cleanable.dirty.ratio": "0.01",
                "delete.retention.ms": "500",
            }
        else:
            config["retention.ms"] = str(_RETENTION_MS)
        specs.append(replace(spec, config=config))
    asyncio.run(create_topics(broker.bootstrap_servers, specs))


def _until_gone(broker: Broker, stores: list[Path], deadline_ms: int) -> list[str]:
    """What still names the user some seconds after the deadline; others go on shopping on every partition meanwhile.

    A segment that nothing is written to is neither rolled nor compacted: the promise needs a partition that lives.
    """
    left = _files_that_name_the_user(stores)
    number = 100
    grace_ms = 20_000  # of the node's own rounds, on a busy machine
    while left and SystemClock().wall_ms() < deadline_ms + grace_ms:
        number += 1
        asyncio.run(produce(broker.bootstrap_servers, [_event(user, number) for user in _OTHERS]))
        pause(1.0)
        left = _files_that_name_the_user(stores)
    return left


def _files_that_name_the_user(stores: list[Path]) -> list[str]:
    """Files of Kafka and of RocksDB that hold the id, or the words that were searched for by this user alone."""
    return [
        str(path)
        for store in stores
        for path in store.rglob("*")
        if path.is_file() and _USER.encode() in _content(path)
    ]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # deleted while we looked
        return b""
