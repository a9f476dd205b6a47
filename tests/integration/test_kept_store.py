"""A RocksDB store kept over a restart, on real Kafka: it is brought up to date, or the worker says why it can't be."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.changelog_loss import accept_loss
from stream.clock import pause
from stream.doctor import examine
from stream.embedded.tansu_highwater import true_end_offsets
from stream.errors import ConfigurationError
from stream.events import OWNED_TOPICS
from stream.fences import FENCE_KEY
from stream.settings import Settings
from stream.state import decode_state
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, Fed, essence, events, expected_states, produce
from tests.brokers import Broker, recreate_topics
from tests.kafka_node import KafkaNode
from tests.worker_process import WorkerProcess, latest_by_key, read_topic

pytestmark = pytest.mark.kafka

_APP = "kept"
_CHANGELOG = f"{_APP}-user-behaviour-changelog"
_POLICY = WindowPolicy(lateness_grace_ms=30 * 86_400_000)
#: Of the 200 users, those that the first 400 events are of.
_USERS_OF_400 = 173
_READ_BACK = "interestflow_changelog_records_read_back_total|user-behaviour"


@pytest.fixture
def kafka(kafka_node: KafkaNode) -> Broker:
    broker = Broker("kafka", kafka_node.bootstrap_servers)
    asyncio.run(recreate_topics(broker, _APP))
    return broker


def _worker(directory: Path, broker: Broker, backend: str = "rocksdb") -> WorkerProcess:
    directory.mkdir(exist_ok=True)
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID=_APP,
        WINDOW__LATENESS_GRACE_HOURS="720",
        KAFKA__BUNDLE_RECORDS="50",
        STORE__BACKEND=backend,
    )


def _held(samples: Any) -> float:
    ready = samples.get("interestflow_ready", 0) == 1
    return float(samples.get("interestflow_assigned_partitions|behaviour.click", 0)) if ready else -1.0


def _states(broker: Broker) -> dict[bytes, Any]:
    records = asyncio.run(read_topic(broker.bootstrap_servers, _CHANGELOG, PARTITIONS))
    return {key: essence(decode_state(value)) for key, value in latest_by_key(records).items()}


def _until_folded(broker: Broker, fed: list[Fed]) -> None:
    expected = {key: essence(state) for key, state in expected_states(fed, _POLICY).items()}
    for _ in range(160):
        if _states(broker) == expected:
            return
        pause(0.25)
    assert _states(broker) == expected


@contextmanager
def _behind(broker: Broker, directory: Path) -> Iterator[WorkerProcess]:
    """A worker that ended, whose store lacks what another one folded since: 400 of 800 events."""
    fed = events(800)
    asyncio.run(produce(broker.bootstrap_servers, fed[:400]))
    with _worker(directory / "one", broker) as worker:
        _until_folded(broker, fed[:400])
        assert worker.end(signal.SIGTERM) == 0
        with _worker(directory / "two", broker, "memory") as other:
            asyncio.run(produce(broker.bootstrap_servers, fed[400:]))
            _until_folded(broker, fed)
            assert other.end(signal.SIGTERM) == 0
        yield worker


async def _changelog_ends(broker: Broker) -> dict[TopicPartition, int]:
    partitions = [TopicPartition(_CHANGELOG, partition) for partition in range(PARTITIONS)]
    return await true_end_offsets(broker.bootstrap_servers, partitions)


def _changes(broker: Broker) -> int:
    """Records of the changelog without those by which workers took it over."""
    records = asyncio.run(read_topic(broker.bootstrap_servers, _CHANGELOG, PARTITIONS))
    return sum(record.key != FENCE_KEY for record in records)


async def _delete_changelog_records(broker: Broker, *, but_the_last: int = 0) -> None:
    """All of each partition, or all but some; Kafka allows it only while the policy does."""
    ends = {tp: end - but_the_last for tp, end in (await _changelog_ends(broker)).items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        for policy, records in (("compact,delete", ends), ("compact", {})):
            wanted = {"cleanup.policy": policy}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, _CHANGELOG, wanted)])
            while await _policy(admin) != policy:
                await asyncio.sleep(0.05)
            if records:
                await admin.delete_records({tp: RecordsToDelete(end) for tp, end in records.items()})
    finally:
        await admin.close()


async def _policy(admin: AIOKafkaAdminClient) -> str:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, _CHANGELOG)])
    return str({entry[0]: entry[1] for entry in response.resources[0][4]}["cleanup.policy"])


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_restart_with_its_store_reads_nothing_back_and_loses_nothing(
    kafka: Broker, tmp_path: Path, ending: signal.Signals
) -> None:
    fed = events(3000)
    with _worker(tmp_path / "one", kafka) as worker:
        asyncio.run(produce(kafka.bootstrap_servers, fed[:2000]))
        _until_folded(kafka, fed[:2000])
        worker.end(ending)
        asyncio.run(produce(kafka.bootstrap_servers, fed[2000:]))
        worker.start()
        _until_folded(kafka, fed)
        samples = worker.until(lambda samples: samples.get("interestflow_users", 0) == 200)

    # At most the changes that were durable when the process died and not yet in the store: one bundle of 50.
    assert samples.get(_READ_BACK, 0.0) <= (0 if ending is signal.SIGTERM else 50)


def test_a_store_that_is_behind_reads_back_only_what_others_wrote_meanwhile(
    kafka: Broker, tmp_path: Path
) -> None:
    fed = events(3000)
    asyncio.run(produce(kafka.bootstrap_servers, fed[:2000]))
    with _worker(tmp_path / "one", kafka) as worker:
        _until_folded(kafka, fed[:2000])
        assert worker.end(signal.SIGTERM) == 0
        before = _changes(kafka)
        with _worker(tmp_path / "two", kafka, "memory") as other:
            asyncio.run(produce(kafka.bootstrap_servers, fed[2000:]))
            _until_folded(kafka, fed)
            read_whole = other.scrape()[_READ_BACK]
            assert other.end(signal.SIGTERM) == 0
        after = _changes(kafka)
        worker.start()
        samples = worker.until(lambda samples: _held(samples) == 4)

    assert read_whole == before
    assert samples[_READ_BACK] == after - before
    assert samples["interestflow_users"] == 200


def test_a_worker_keeps_its_partitions_over_a_rebalance_without_reading_its_own_writes(
    kafka: Broker, tmp_path: Path
) -> None:
    asyncio.run(produce(kafka.bootstrap_servers, events(2000)))
    with _worker(tmp_path / "one", kafka, "memory") as one:
        one.until(lambda samples: samples.get("interestflow_users", 0) == 200)
        with _worker(tmp_path / "two", kafka, "memory") as two:
            two.until(lambda samples: _held(samples) == 2)
            kept = one.until(lambda samples: _held(samples) == 2)
            assert two.end(signal.SIGTERM) == 0
        back = one.until(lambda samples: _held(samples) == 4)
        written = _changes(kafka)

    assert kept.get(_READ_BACK, 0.0) == 0.0
    # The two partitions that came back were another's meanwhile.
    assert 0 < back[_READ_BACK] < written
    assert back["interestflow_users"] == 200


def test_a_changelog_that_lost_what_the_store_holds_stops_the_worker_by_name(
    kafka: Broker, tmp_path: Path
) -> None:
    asyncio.run(produce(kafka.bootstrap_servers, events(400)))
    with _worker(tmp_path / "one", kafka) as worker:
        _until_folded(kafka, events(400))
        assert worker.end(signal.SIGTERM) == 0
        asyncio.run(recreate_topics(kafka, _APP))
        worker.start()
        code = worker.wait()
        last = worker.log.splitlines()[-1]

    assert code == 3
    assert "-changelog partition" in last
    assert "ends at offset 0, but the store holds it up to offset" in last


def test_a_changelog_whose_unread_records_were_deleted_stops_the_worker_by_name(
    kafka: Broker, tmp_path: Path
) -> None:
    with _behind(kafka, tmp_path) as worker:
        asyncio.run(_delete_changelog_records(kafka))
        worker.start()
        code = worker.wait()
        last = worker.log.splitlines()[-1]

    assert code == 3
    assert f"{_CHANGELOG} partition" in last
    assert "what was between is deleted, so users would silently be old" in last


def _accept(broker: Broker, *, is_sure: bool = True) -> list[str]:
    """What ``interestflow topics accept-loss`` says."""
    return asyncio.run(accept_loss(_settings(broker), is_sure=is_sure))


def _settings(broker: Broker) -> Settings:
    kafka, model = {"bootstrap_servers": broker.bootstrap_servers}, {"enabled": False}
    return Settings.model_validate({"app_id": _APP, "virtual_time": True, "kafka": kafka, "model": model})


@pytest.mark.timeout(400)
@pytest.mark.parametrize("left", [0, 20], ids=["emptied", "its first records deleted"])
def test_a_deleted_changelog_stops_a_worker_without_a_store_until_the_loss_is_accepted(
    kafka: Broker, tmp_path: Path, left: int
) -> None:
    fed = events(400)
    asyncio.run(produce(kafka.bootstrap_servers, fed))
    with _worker(tmp_path / "one", kafka, "memory") as worker:
        _until_folded(kafka, fed)
        assert worker.end(signal.SIGTERM) == 0
        whole = _accept(kafka)
        asyncio.run(_delete_changelog_records(kafka, but_the_last=left))
        survivors = len(_states(kafka))
        worker.start()
        code = worker.wait()
        last = worker.log.splitlines()[-1]
        seen = [finding.text for finding in asyncio.run(examine(_settings(kafka))) if not finding.ok]
        told, done, again = _accept(kafka, is_sure=False), _accept(kafka), _accept(kafka)
        worker.start()
        held = worker.until(lambda samples: _held(samples) == 4)["interestflow_users"]

    assert whole == again == ["no changelog has lost records that were not given up"]
    assert (code, held) == (3, survivors)
    assert f"{_CHANGELOG} partition" in last
    assert "users would silently start anew" in last
    assert len(seen) == PARTITIONS
    assert seen[0].startswith(f"{_CHANGELOG} partition 0: everything before offset ")
    assert [line.endswith(f"is deleted, {left} offsets are left") for line in told[:-1]] == [
        True
    ] * PARTITIONS
    assert told[-1].endswith("with --yes workers start with that")
    assert done[-1] == "given up: workers start with what is left; replay the inputs if they are still there"


def test_a_loss_is_not_accepted_while_a_worker_runs(kafka: Broker, tmp_path: Path) -> None:
    asyncio.run(produce(kafka.bootstrap_servers, events(400)))
    with _worker(tmp_path / "one", kafka):
        _until_folded(kafka, events(400))
        asyncio.run(_delete_changelog_records(kafka))
        # States stand in the changelog a moment before the inputs are committed; without that there is no loss.
        while len(_accept(kafka, is_sure=False)) < PARTITIONS + 1:
            pause(0.25)
        with pytest.raises(ConfigurationError) as caught:
            _accept(kafka)

    assert str(caught.value) == (
        f"the group {_APP} has members: stop all workers (a static one is a member until its session times out), then "
        "accept the loss, then start them"
    )


@pytest.mark.timeout(400)
def test_a_group_that_begins_anew_starts_from_a_changelog_that_begins_late(
    kafka: Broker, tmp_path: Path
) -> None:
    fed = events(400)
    asyncio.run(produce(kafka.bootstrap_servers, fed))
    with _worker(tmp_path / "one", kafka, "memory") as worker:
        _until_folded(kafka, fed)
        assert worker.end(signal.SIGTERM) == 0
        asyncio.run(_delete_changelog_records(kafka))
        asyncio.run(_begin_inputs_anew(kafka))
        worker.start()
        _until_folded(kafka, fed)
        assert worker.end(signal.SIGTERM) == 0
        worker.start()
        samples = worker.until(lambda samples: _held(samples) == 4)

    assert samples["interestflow_users"] == _USERS_OF_400


async def _begin_inputs_anew(broker: Broker) -> None:
    """As Kafka's own tool does it with --reset-offsets --to-earliest."""
    consumer = AIOKafkaConsumer(group_id=_APP, bootstrap_servers=broker.bootstrap_servers)
    inputs = [TopicPartition(topic, number) for topic in OWNED_TOPICS for number in range(PARTITIONS)]
    consumer.assign(inputs)
    await consumer.start()
    try:
        await consumer.commit(dict.fromkeys(inputs, 0))
    finally:
        await consumer.stop()


@pytest.mark.timeout(400)
def test_a_store_that_missed_records_is_let_go_once_the_loss_is_accepted(
    kafka: Broker, tmp_path: Path
) -> None:
    with _behind(kafka, tmp_path) as worker:
        asyncio.run(_delete_changelog_records(kafka, but_the_last=3))
        survivors = len(_states(kafka))
        _accept(kafka)
        worker.start()
        samples = worker.until(lambda samples: _held(samples) == 4)

    assert samples["interestflow_users"] == survivors


async def _end_with_a_marker(broker: Broker) -> None:
    """The last offset of each partition is no record, as after a compaction that took the last one."""
    records = await read_topic(broker.bootstrap_servers, _CHANGELOG, PARTITIONS)
    last = {record.partition: record for record in records}
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id="marker")
    await producer.start()
    try:
        async with producer.transaction():
            for partition, record in last.items():
                await producer.send_and_wait(_CHANGELOG, record.value, record.key, partition)
    finally:
        await producer.stop()


def test_a_changelog_whose_last_offset_is_no_record_is_recovered(kafka: Broker, tmp_path: Path) -> None:
    fed = events(400)
    asyncio.run(produce(kafka.bootstrap_servers, fed))
    with _worker(tmp_path / "one", kafka, "memory") as worker:
        _until_folded(kafka, fed)
        assert worker.end(signal.SIGTERM) == 0
        written = _changes(kafka)
        asyncio.run(_end_with_a_marker(kafka))
        worker.start()
        samples = worker.until(lambda samples: _held(samples) == 4)

    assert samples["interestflow_users"] == _USERS_OF_400
    assert samples[_READ_BACK] == written + PARTITIONS
