"""G10: what happens to the logs that a worker stands on: compacted, emptied, recreated, with more partitions."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from benchmarks.chaos.arena import (
    APP_ID,
    CHANGELOG,
    Fleet,
    Load,
    Run,
    is_ready,
    make_topics,
    settled,
    under_load,
)
from benchmarks.chaos.verdict import Verdict
from stream.clock import SystemClock
from stream.events import CLICK_TOPIC
from stream.topic_specs import service_topics
from stream.topics import create_topics
from tests.behaviour_feed import PARTITIONS
from tests.brokers import delete_topics
from tests.kafka_node import KafkaNode
from tests.worker_process import WorkerProcess

_RATE: Final = 600.0
#: A worker that neither recovers nor says why is what the gate is about.
_END_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.2
_clock = SystemClock()

Change = Callable[[str], Awaitable[None]]


class Case(NamedTuple):
    """What is done to a log between two lives of a worker."""

    change: Change
    #: In the log of a worker that ends by name; empty: it must go on instead.
    told: str
    #: Its store is kept over the restart.
    kept: bool = False


class Ending(NamedTuple):
    """What became of the worker."""

    exit_code: int | None
    seconds: float
    last_line: str


async def _nothing(_servers: str) -> None:
    """The changelog was compacted while the load went on."""


async def _empty_changelog(servers: str) -> None:
    """As retention does it once a person has set cleanup.policy to delete; it is set back afterwards."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()

    async def keep(policy: str) -> None:
        topic = ConfigResource(ConfigResourceType.TOPIC, CHANGELOG, configs={"cleanup.policy": policy})
        await admin.alter_configs([topic])

    try:
        await keep("delete")  # records of a compacted topic can't be deleted
        await admin.delete_records(
            {
                TopicPartition(CHANGELOG, number): RecordsToDelete(before_offset=-1)
                for number in range(PARTITIONS)
            }
        )
        await keep("compact")
    finally:
        await admin.close()


async def _recreate_input(servers: str) -> None:
    """Offsets begin anew."""
    await delete_topics(servers, [CLICK_TOPIC])
    specs = service_topics(APP_ID, PARTITIONS, virtual_time=True)
    await create_topics(servers, [spec for spec in specs if spec.name == CLICK_TOPIC])


async def _add_partitions(servers: str) -> None:
    """Keys belong elsewhere from now on."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_partitions({CLICK_TOPIC: NewPartitions(total_count=2 * PARTITIONS)})
    finally:
        await admin.close()


CASES: Final[Mapping[str, Case]] = {
    "changelog compacted": Case(_nothing, ""),
    "changelog emptied, store wiped": Case(_empty_changelog, "users would silently start anew"),
    "changelog emptied, store kept": Case(_empty_changelog, "", kept=True),
    "input topic recreated": Case(_recreate_input, "recreated or truncated"),
    "partition count changed": Case(_add_partitions, "partition counts differ"),
}


async def logs(run: Run) -> Verdict:
    """G10: each case on a broker of its own."""
    problems: list[str] = []
    cases: dict[str, object] = {}
    figures: dict[str, object] = {}
    for number, (name, case) in enumerate(CASES.items()):
        directory = run.directory / str(number)
        directory.mkdir()
        ending, of_case, accounts = await _lived_through(run._replace(directory=directory), case)
        cases[name] = ending._asdict()
        problems += [f"{name}: {problem}" for problem in of_case]
        figures = figures or accounts
    return Verdict(
        "G10",
        "logs compacted, emptied, recreated or resized: recovery ends, or the worker ends by name",
        {**figures, "seed": run.seed, "cases": cases},
        problems,
    )


async def _lived_through(run: Run, case: Case) -> tuple[Ending, list[str], dict[str, object]]:
    with KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        store = "rocksdb" if case.kept else "memory"
        with Fleet(run.directory, servers, 1, STORE__BACKEND=store) as fleet:
            (worker,) = fleet.workers
            async with under_load(servers, run.seed, _RATE) as load:
                await fleet.ready(load)
                await load.committed(5_000 if run.short else 30_000)
                await load.caught_up()
            users = await _users(worker)
            await asyncio.to_thread(worker.end, signal.SIGTERM)
            await case.change(servers)
            ending = await _next_life(worker)
            if case.kept:  # Kafka has nothing to be compared with
                held = await _users(worker)
                return ending, [] if held == users else [f"{held} of {users} users are left"], {}
            if case.told:
                return ending, _judged(case, ending, worker.log), {}
            return await _gone_on(ending, load, worker)


async def _users(worker: WorkerProcess) -> int:
    return int((await asyncio.to_thread(worker.scrape)).get("interestflow_users", 0))


async def _gone_on(
    ending: Ending, load: Load, worker: WorkerProcess
) -> tuple[Ending, list[str], dict[str, object]]:
    if ending.exit_code is not None:
        return ending, [f"ended with {ending.exit_code}: {ending.last_line}"], {}
    await asyncio.to_thread(worker.end, signal.SIGTERM)
    accounts, problems = await settled(load)
    return ending, problems, accounts.figures() | load.figures()


async def _next_life(worker: WorkerProcess) -> Ending:
    """Start it again, until it is ready or ends."""
    began = _clock.monotonic_seconds()
    worker.start()
    while (seconds := _clock.monotonic_seconds() - began) < _END_SECONDS and worker.exit_code is None:
        if is_ready(await asyncio.to_thread(worker.scrape)):
            return Ending(None, round(seconds, 1), "ready")
        await asyncio.sleep(_POLL_SECONDS)
    lines = worker.log.strip().splitlines() or [""]
    return Ending(worker.exit_code, round(seconds, 1), lines[-1][-400:])


def _judged(case: Case, ending: Ending, log: str) -> list[str]:
    if ending.exit_code in (2, 3) and case.told in log:
        return []
    return [f"expected an end by name that says {case.told!r}, got {ending.exit_code}: {ending.last_line}"]
