"""Several real workers on real Kafka: partitions move, every event counts once, and who can't work ends by name."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stream.clock import pause
from stream.state import decode_state
from stream.topic_specs import USER_BEHAVIOUR, changelog_topic, service_topics
from stream.topics import create_topics
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, Fed, essence, events, expected_states, produce
from tests.brokers import Broker, delete_topics, recreate_topics
from tests.kafka_node import KafkaNode
from tests.worker_process import WorkerProcess, latest_by_key, loads, read_topic

pytestmark = pytest.mark.kafka

#: The feed spans days of virtual time and topics are read one after the other: nothing of it may be late.
_POLICY = WindowPolicy(lateness_grace_ms=30 * 86_400_000)


@pytest.fixture
def app_id() -> str:
    """A group of its own for each test: workers are killed at its end, and a killed member holds up whoever joins next."""
    return f"moving-{uuid4().hex[:8]}"


@pytest.fixture
def kafka(kafka_node: KafkaNode, app_id: str) -> Broker:
    broker = Broker("kafka", kafka_node.bootstrap_servers)
    asyncio.run(recreate_topics(broker, app_id))
    return broker


class Workers:
    """Workers of one group, each with a directory of its own; all end with the test."""

    def __init__(self, directory: Path, broker: Broker, app_id: str, stack: ExitStack) -> None:
        self._directory, self._broker, self._stack = directory, broker, stack
        self.app_id = app_id
        self.changelog = changelog_topic(app_id, USER_BEHAVIOUR)
        self.started = 0

    def start(self, **settings: str) -> WorkerProcess:
        directory = self._directory / f"worker-{self.started}"
        directory.mkdir()
        self.started += 1
        worker = WorkerProcess(
            directory,
            self._broker.bootstrap_servers,
            APP_ID=self.app_id,
            WINDOW__LATENESS_GRACE_HOURS="720",
            KAFKA__BUNDLE_RECORDS="50",
            **settings,
        )
        return self._stack.enter_context(worker)

    def states(self) -> dict[bytes, Any]:
        """Each user's state, as the changelog has it."""
        records = asyncio.run(read_topic(self._broker.bootstrap_servers, self.changelog, PARTITIONS))
        return {key: essence(decode_state(value)) for key, value in latest_by_key(records).items()}


@pytest.fixture
def workers(tmp_path: Path, kafka: Broker, app_id: str) -> Iterator[Workers]:
    with ExitStack() as stack:
        yield Workers(tmp_path, kafka, app_id, stack)


def held(samples: Any) -> float:
    """Partitions of one input topic that a worker holds and works on."""
    ready = samples.get("interestflow_ready", 0) == 1
    return float(samples.get("interestflow_assigned_partitions|behaviour.click", 0)) if ready else -1.0


def until_held(worker: WorkerProcess, partitions: float) -> None:
    worker.until(lambda samples: held(samples) == partitions)


def _wait_for_states(workers: Workers, fed: list[Fed]) -> bool:
    expected = {key: essence(state) for key, state in expected_states(fed, _POLICY).items()}
    for _ in range(160):
        if workers.states() == expected:
            return True
        pause(0.25)
    assert workers.states() == expected
    return True


def test_partitions_move_as_workers_join_leave_and_die_and_every_event_counts_once(
    kafka: Broker, workers: Workers
) -> None:
    fed = events(8000)
    asyncio.run(produce(kafka.bootstrap_servers, fed[:2000]))

    first = workers.start()
    until_held(first, 4)
    second = workers.start()
    until_held(second, 2)
    until_held(first, 2)
    asyncio.run(produce(kafka.bootstrap_servers, fed[2000:4000]))
    third = workers.start()
    third.until(lambda samples: held(samples) >= 1)
    asyncio.run(produce(kafka.bootstrap_servers, fed[4000:6000]))
    assert second.end(signal.SIGKILL) == -9
    asyncio.run(produce(kafka.bootstrap_servers, fed[6000:]))
    until_held(first, 2)
    assert third.end(signal.SIGTERM) == 0
    until_held(first, 4)

    assert _wait_for_states(workers, fed)
    assert first.scrape()["interestflow_users"] == 200


def test_a_static_member_that_restarts_moves_no_partitions(kafka: Broker, workers: Workers) -> None:
    fed = events(2000)
    static = {"KAFKA__STATIC_MEMBERSHIP": "true", "KAFKA__SESSION_TIMEOUT_SECONDS": "45"}
    asyncio.run(produce(kafka.bootstrap_servers, fed[:1000]))
    first = workers.start(KAFKA__GROUP_INSTANCE_ID="worker-0", STORE__BACKEND="rocksdb", **static)
    until_held(first, 4)
    second = workers.start(KAFKA__GROUP_INSTANCE_ID="worker-1", **static)
    until_held(second, 2)
    until_held(first, 2)
    held_before, rebalances = partitions_of(first), rebalances_of(second)

    assert first.end(signal.SIGTERM) == 0
    asyncio.run(produce(kafka.bootstrap_servers, fed[1000:]))
    first.start()
    until_held(first, 2)

    assert _wait_for_states(workers, fed)
    assert partitions_of(first) == held_before
    assert rebalances_of(second) == rebalances
    assert "interestflow_changelog_records_read_back_total|user-behaviour" not in first.scrape()


@pytest.mark.parametrize("fault", ["none", "frozen"])
def test_of_two_workers_with_one_static_id_the_first_ends_by_name_and_every_event_counts_once(
    kafka: Broker, workers: Workers, fault: str
) -> None:
    """Also if the first is frozen while the second takes its seat, and finds it taken when it wakes."""
    fed = events(3000)
    static = {"KAFKA__STATIC_MEMBERSHIP": "true", "KAFKA__SESSION_TIMEOUT_SECONDS": "45"}
    asyncio.run(produce(kafka.bootstrap_servers, fed[:1000]))
    first = workers.start(KAFKA__GROUP_INSTANCE_ID="worker-0", **static)
    until_held(first, 4)
    asyncio.run(produce(kafka.bootstrap_servers, fed[1000:2000]))
    if fault == "frozen":
        first.send_signal(signal.SIGSTOP)

    second = workers.start(KAFKA__GROUP_INSTANCE_ID="worker-0", **static)
    until_held(second, 4)
    first.send_signal(signal.SIGCONT)
    code = first.wait()
    asyncio.run(produce(kafka.bootstrap_servers, fed[2000:]))

    assert code == 3, first.log[-3000:]
    assert "as the static member 'worker-0' and has this one's partitions now" in first.log.splitlines()[-1]
    assert _wait_for_states(workers, fed)
    assert rebalances_of(second) == 1
    assert second.end(signal.SIGTERM) == 0


def partitions_of(worker: WorkerProcess) -> list[int]:
    """What its log said last of its partitions."""
    lines = [line for line in worker.log.splitlines() if '"partitions_assigned"' in line]
    return list(loads(lines[-1].encode())["partitions"])


def rebalances_of(worker: WorkerProcess) -> float:
    return worker.scrape()["interestflow_rebalances_total"]


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_workers_too_many_say_so_and_end_while_one_works_on(
    kafka: Broker, workers: Workers, kind: str
) -> None:
    """Two of them, so that the group rebalances while the first one is spare already."""
    asyncio.run(recreate_topics(kafka, workers.app_id, partitions=1))
    settings = {"KAFKA__PARTITIONS": "1", "WATCHDOG__SPARE_SECONDS": "5", "WATCHDOG__NOT_READY_SECONDS": "3"}
    if kind == "static":
        settings |= {"KAFKA__STATIC_MEMBERSHIP": "true", "KAFKA__SESSION_TIMEOUT_SECONDS": "45"}
    started = [workers.start(KAFKA__GROUP_INSTANCE_ID=f"worker-{number}", **settings) for number in range(3)]

    spare, others = _which_ends(started)
    another, (last,) = _which_ends(others)

    for ended in (spare, another):
        assert "run at most 1, or raise the partition count" in ended.log.splitlines()[-1]
    until_held(last, 1)
    assert last.end(signal.SIGTERM) == 0


def _which_ends(workers: list[WorkerProcess]) -> tuple[WorkerProcess, list[WorkerProcess]]:
    """The one that ends by name, and the others."""
    for _ in range(1200):
        for one in workers:
            if one.exit_code is not None:
                assert one.exit_code == 3, one.log[-3000:]
                return one, [other for other in workers if other is not one]
        pause(0.1)
    raise AssertionError("all workers go on")


def test_a_partition_that_is_not_folded_makes_the_worker_unready_then_end_and_nothing_is_lost(
    kafka: Broker, workers: Workers
) -> None:
    """The changelog's topic is away for a while."""
    fed = events(400)
    worker = workers.start(WATCHDOG__NOT_READY_SECONDS="3", WATCHDOG__EXIT_SECONDS="9")
    until_held(worker, 4)
    asyncio.run(delete_topics(kafka.bootstrap_servers, [workers.changelog]))
    asyncio.run(produce(kafka.bootstrap_servers, fed))

    worker.until(lambda samples: held(samples) < 0 and _oldest_commit(samples) >= 3.0)
    problems = worker.readiness()
    code = worker.wait()
    last = worker.log.splitlines()[-1]
    specs = service_topics(workers.app_id, PARTITIONS, virtual_time=True)
    asyncio.run(create_topics(kafka.bootstrap_servers, specs))
    worker.start()

    assert any("stands at offset 0 for" in problem for problem in problems)
    assert code == 3
    assert "its records are not folded any more; restart the worker" in last
    assert _wait_for_states(workers, fed)


def _oldest_commit(samples: Any) -> float:
    ages = [value for name, value in samples.items() if "committed_offset_age_seconds" in name]
    return max(ages, default=0.0)
