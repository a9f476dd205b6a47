"""Runs of one worker that is told to stop in the middle of a backlog and started again, of both contestants alike."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.chaos.arena import (
    APP_ID,
    CHANGELOG,
    CLEANED,
    Fleet,
    Load,
    NotCaughtUpError,
    make_topics,
    under_load,
)
from benchmarks.chaos.feed import shoppers
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.restart_accounts import Commits, RestartAccounts, restart_accounts
from stream.clock import SystemClock
from stream.embedded.ports import LOOPBACK, free_ports
from stream.events import AD_TOPIC, BEHAVIOUR_TOPICS
from stream.fold import event_hash
from stream.state import UserState, decode_state
from stream.topic_specs import TopicSpec
from stream.topics import create_topics
from tests.behaviour_feed import PARTITIONS, Fed
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode
from tests.reference_fold import Place
from tests.worker_process import REPOSITORY, latest_by_key, read_topic

#: Stock Faust folds about 2,000 a second on a core that it has for itself.
_RATE: Final = 100.0
_BURST_RATE: Final = 8_000.0
#: What waits in the input topics each time that a worker starts …
_BACKLOG: Final = 2_000
#: … and what it commits before it is told to stop, in the middle of it if it is a slow one.
_BETWEEN_EVENTS: Final = 600
_STOP_SECONDS: Final = 40.0
#: A commit that did not move for so long while the machine had nothing else to do is not coming any more.
_STANDSTILL_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.25
_STOCK_ID: Final = "chaos-stock"
_STOCK_OUTPUT: Final = f"{_STOCK_ID}-out"
_STOCK_CHANGELOG: Final = f"{_STOCK_ID}-ids-changelog"
#: The copies are not what this is about, and three brokers share the machine.
_ONE_REPLICA: Final = {"default.replication.factor": "1", "min.insync.replicas": "1"}
_clock = SystemClock()


class Plan(NamedTuple):
    """What a run is told."""

    directory: Path
    seed: int
    restarts: int
    #: How long the one broker is away by network, each way; 0 is no proxy between.
    delay_seconds: float = 0.0
    #: Three brokers, the first of which leads all changelogs and the others inputs alone.
    apart: bool = False


class Run(NamedTuple):
    """What came of it."""

    accounts: RestartAccounts
    restarts: int
    exit_codes: list[int]


class StockWorker:
    """The contestant's process."""

    def __init__(self, directory: Path, servers: str) -> None:
        self._log = directory / "stock.log"
        self._dropped = directory / "dropped.jsonl"
        self._told = json.dumps(
            {
                "app_id": _STOCK_ID,
                "bootstrap_servers": servers,
                "output": _STOCK_OUTPUT,
                "dropped_to": str(self._dropped),
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.contestants.stock_restart", self._told],
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        """It is not started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it still runs."""
        if self._process is not None:
            self.stop()

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that is not enough; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def noted(self) -> set[Place]:
        """Places of events that it took out of its queues unprocessed."""
        if not self._dropped.exists():
            return set()
        lines = self._dropped.read_text(encoding="utf-8").splitlines()
        return {(topic, number, offset) for line in lines for topic, number, offset in json.loads(line)}


async def stock(plan: Plan) -> Run:
    """One run of stock Faust."""
    async with _broker(plan) as servers:
        own = [TopicSpec(_STOCK_CHANGELOG, PARTITIONS, compacted=True), TopicSpec(_STOCK_OUTPUT, PARTITIONS)]
        await create_topics(servers, own)
        with StockWorker(plan.directory, servers) as worker:
            commits, codes = await _restarted(plan, servers, _STOCK_ID, worker.stop, worker.start)
        held: Counter[bytes] = Counter()
        for ids in latest_by_key(await read_topic(servers, _STOCK_CHANGELOG, PARTITIONS)).values():
            held.update(ids.split(b","))
        accounts = restart_accounts(await _log(servers), held, commits, worker.noted())
    return Run(accounts, len(commits) - 1, codes)


async def ours(plan: Plan) -> Run:
    """One run of our worker."""
    async with _broker(plan) as servers:
        fleet = Fleet(plan.directory, servers, 1)  # not entered: a backlog comes before the first start
        worker = fleet.workers[0]
        try:
            commits, codes = await _restarted(
                plan, servers, APP_ID, lambda: worker.end(signal.SIGTERM), worker.start
            )
        finally:
            worker.__exit__(None, None, None)
        log = await _log(servers)
        held: Counter[Any] = Counter()
        for value in latest_by_key(await read_topic(servers, CHANGELOG, PARTITIONS)).values():
            held.update(_applied(decode_state(value)))
    hashes = {place: event_hash("", one) for place, one in log.items()}
    accounts = restart_accounts(hashes, held, commits, set())
    return Run(accounts, len(commits) - 1, codes)


def _applied(state: UserState) -> Iterator[int]:
    """The hash of each applied event; the revision counts them too, and what it has more was applied twice."""
    yield from state.recent.ids
    yield from [state.recent.ids[-1]] * (state.revision - len(state.recent.ids))


CONTESTANTS: Final[dict[str, Callable[[Plan], Coroutine[Any, Any, Run]]]] = {
    "stock Faust": stock,
    "interestflow worker": ours,
}


@asynccontextmanager
async def _broker(plan: Plan) -> AsyncIterator[str]:
    """Brokers with the service's topics, as near and as many as the plan says."""
    if plan.apart:
        with KafkaCluster(plan.directory, properties=_ONE_REPLICA) as cluster:
            servers = cluster.bootstrap_servers
            await _changelogs_on_the_first(servers)
            await make_topics(servers)
            yield servers
        return
    port, broker_port, controller_port = free_ports(3)
    seen_at = port if plan.delay_seconds else broker_port
    with KafkaNode(
        plan.directory,
        ports=(broker_port, controller_port),
        properties={"advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{seen_at}"},
    ):
        async with Proxy(port, broker_port) as proxy:
            proxy.delay_seconds = plan.delay_seconds
            servers = f"{LOOPBACK}:{seen_at}"
            await make_topics(servers)
            yield servers


async def _changelogs_on_the_first(servers: str) -> None:
    first = {number: [1] for number in range(PARTITIONS)}
    config = {"cleanup.policy": "compact", **CLEANED}
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        told = await admin.create_topics(
            [NewTopic(name, -1, -1, first, config) for name in (CHANGELOG, _STOCK_CHANGELOG)]
        )
    finally:
        await admin.close()
    refused = [topic for topic in told.topic_errors if topic[1]]
    assert not refused, refused


async def _restarted(
    plan: Plan, servers: str, group: str, stop: Callable[[], int], start: Callable[[], None]
) -> tuple[list[Commits], list[int]]:
    """What was committed at each stop, and the exit codes."""
    commits: list[Commits] = []
    codes: list[int] = []

    async def stopped() -> None:
        codes.append(await asyncio.to_thread(stop))
        commits.append(await _commits(servers, group))

    async with under_load(servers, plan.seed, _RATE, _everywhere(plan.seed), group) as load:
        for _ in range(plan.restarts):
            await _backlog(load)
            start()
            with suppress(NotCaughtUpError):  # the next start shows what became of it
                await load.committed(_BETWEEN_EVENTS)
            await stopped()
        await _backlog(load)
        start()
        await _at_rest(load)
    await stopped()
    return commits, codes


def _everywhere(seed: int) -> Iterator[Fed]:
    """The shoppers' events with every fourth on the one topic that they leave empty.

    While a partition has nothing to read, the broker that leads it holds back aiokafka's one fetch, and with it all that
    could be fetched too early: a partition that is empty in no shop would hide what is looked for.
    """
    for number, fed in enumerate(shoppers(seed, bad_share=0.0)):
        if number % 4 or fed.value is None:
            yield fed
        else:
            body = orjson.loads(fed.value) | {"event_type": "ad_click"}
            yield fed._replace(topic=AD_TOPIC, value=orjson.dumps(body))


async def _backlog(load: Load) -> None:
    load.feeder.events_per_second = _BURST_RATE
    await load.fed(_BACKLOG)
    load.feeder.events_per_second = _RATE


async def _at_rest(load: Load) -> None:
    """Stop the feed and wait until all is committed or no commit moves any more."""
    load.feeder.stop()
    await load.feeder.ended.wait()
    progress = load.progress
    progress.lag = None  # only a look from now on counts
    committed, moved = progress.committed, _clock.monotonic_seconds()
    while progress.lag != 0 and _clock.monotonic_seconds() - moved < _STANDSTILL_SECONDS:
        await asyncio.sleep(_POLL_SECONDS)
        if progress.committed != committed:
            committed, moved = progress.committed, _clock.monotonic_seconds()


async def _commits(servers: str, group: str) -> Commits:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        told = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {(tp.topic, tp.partition): max(one.offset, 0) for tp, one in told.items()}


async def _log(servers: str) -> dict[Place, Any]:
    """The id of each input event."""
    return {
        (topic, record.partition, record.offset): orjson.loads(record.value)["event_id"].encode()
        for topic in BEHAVIOUR_TOPICS
        for record in await read_topic(servers, topic, PARTITIONS)
    }
