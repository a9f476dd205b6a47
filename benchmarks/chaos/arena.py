"""What every gate stands on: topics, workers under load, and the settlement of accounts at the end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, Self

from benchmarks.chaos.accounts import Accounts
from benchmarks.chaos.feed import Feeder, shoppers
from benchmarks.chaos.progress import Progress
from benchmarks.chaos.settlement import everybody, settle_log
from benchmarks.chaos.verdict import Verdict
from benchmarks.chaos.watch import watch
from stream.clock import SystemClock
from stream.topic_specs import USER_BEHAVIOUR, TopicSpec, changelog_topic, service_topics
from stream.topics import create_topics
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, Fed
from tests.worker_process import REPOSITORY, WorkerProcess

APP_ID: Final = "chaos"
CHANGELOG: Final = changelog_topic(APP_ID, USER_BEHAVIOUR)
#: Topics are not read in step, so nothing of a run may be late; small windows keep the changelog small.
POLICY: Final = WindowPolicy(size=16, lateness_grace_ms=30 * 86_400_000)
SESSION_SECONDS: Final = 6
_SETTINGS: Final = {
    "APP_ID": APP_ID,
    "WINDOW__SIZE": str(POLICY.size),
    "WINDOW__LATENESS_GRACE_HOURS": "720",
    "KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
    "KAFKA__REBALANCE_TIMEOUT_SECONDS": "8",
}
#: Outputs without a model server: every update comes from the lowest rung of the ladder, which is enough to see
#: whether one is missing, repeated or different.
SCORING: Final = {
    "MODEL__ENABLED": "true",
    "MODEL__REPOSITORY": str(REPOSITORY / "triton_models"),
    "MODEL__GRPC_URL": "127.0.0.1:1",
    "SCORE__RETRY_SECONDS": "5",
}
#: Changelogs are compacted while the run goes on, as they are in production.
CLEANED: Final = {"segment.bytes": "4194304", "min.cleanable.dirty.ratio": "0.2"}
_CATCH_UP_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.25
_clock = SystemClock()


class Run(NamedTuple):
    """What one gate is told."""

    directory: Path
    seed: int
    #: A version of a minute or two, for every day.
    short: bool
    #: How long G8 measures; None: as long as it is made for.
    soak_minutes: float | None = None


class NotCaughtUpError(Exception):
    """The workers left events unread."""


class Load:
    """A feed and a watch over the group that reads it."""

    def __init__(self, bootstrap_servers: str, feeder: Feeder) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.feeder = feeder
        #: From when all workers were ready, see ``start_over``.
        self.progress = Progress()
        self._began_seconds = _clock.monotonic_seconds()

    def start_over(self) -> None:
        """Forget how long the first start took: what stood still before was nobody's yet."""
        self.progress.forget_stalls()

    async def committed(self, more: int) -> None:
        """Until so many more events are folded and committed.

        Raises:
            NotCaughtUpError: They are not, in a long time.
        """
        goal = self.progress.committed + more
        await self._until(lambda: self.progress.committed >= goal, f"fold {more} more events")

    async def fed(self, more: int) -> None:
        """Until the broker has acknowledged so many more events."""
        goal = len(self.feeder.acknowledged) + more
        await self._until(lambda: len(self.feeder.acknowledged) >= goal, f"let {more} more events in")

    async def in_step(self) -> None:
        """Until less than a second or two of events waits: what piled up before is folded.

        Raises:
            NotCaughtUpError: The workers don't get that far.
        """
        most = 2 * self.feeder.events_per_second
        await self._until(lambda: self.progress.lag is not None and self.progress.lag < most, "get in step")

    async def caught_up(self) -> None:
        """Stop the feed and wait until everything is committed.

        Raises:
            NotCaughtUpError: It is not, in a long time.
        """
        self.feeder.stop()
        await self.feeder.ended.wait()
        self.progress.lag = None  # only a look from now on counts
        await self._until(lambda: self.progress.lag == 0, "catch up")

    async def _until(self, done: Callable[[], bool], what: str) -> None:
        began = _clock.monotonic_seconds()
        while not done():
            if _clock.monotonic_seconds() - began > _CATCH_UP_SECONDS:
                raise NotCaughtUpError(
                    f"the workers did not {what} within {_CATCH_UP_SECONDS:g} s: {self.progress.committed} events are "
                    f"committed, {self.progress.lag} are not; see their logs"
                )
            await asyncio.sleep(_POLL_SECONDS)

    def figures(self) -> dict[str, object]:
        """For a verdict."""
        return {
            "longest_stall_seconds": round(self.progress.longest_stall_seconds, 1),
            "not_acknowledged_to_the_producer": self.feeder.given_up,
            "seconds": round(_clock.monotonic_seconds() - self._began_seconds),
        }


@asynccontextmanager
async def under_load(
    bootstrap_servers: str, seed: int, rate: float, source: Iterator[Fed] | None = None, group: str = APP_ID
) -> AsyncIterator[Load]:
    """Topics made anew and events coming in; stopped at the latest at the end."""
    feeder = Feeder(bootstrap_servers, source or shoppers(seed), rate)
    load = Load(bootstrap_servers, feeder)
    async with asyncio.TaskGroup() as tasks:
        feeding = tasks.create_task(feeder.run())
        watching = tasks.create_task(watch(bootstrap_servers, group, load.progress))
        try:
            yield load
        finally:
            feeder.stop()
            await asyncio.wait({feeding})
            watching.cancel()


async def make_topics(bootstrap_servers: str, replication_factor: int = 1) -> None:
    """The service's topics, with changelogs that are cleaned soon."""
    specs = [_cleaned(spec) for spec in service_topics(APP_ID, PARTITIONS, virtual_time=True)]
    await create_topics(bootstrap_servers, specs, replication_factor=replication_factor)


def _cleaned(spec: TopicSpec) -> TopicSpec:
    return replace(spec, config={**spec.config, **CLEANED}) if spec.name.endswith("-changelog") else spec


def is_ready(samples: Mapping[str, float]) -> bool:
    """Whether a worker holds partitions and has recovered them."""
    return samples.get("interestflow_assigned_partitions|behaviour.click", 0.0) > 0


class Fleet:
    """Workers of one group; a context manager that ends them."""

    def __init__(self, directory: Path, bootstrap_servers: str, workers: int, **settings: str) -> None:
        self.workers = [
            WorkerProcess(directory, bootstrap_servers, **{**_SETTINGS, **settings}) for _ in range(workers)
        ]
        for number, worker in enumerate(self.workers):
            worker.environment["INTERESTFLOW_STORE__DIRECTORY"] = str(directory / f"state-{number}")
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start them all; they are not ready yet."""
        for worker in self.workers:
            self._stack.enter_context(worker)
        return self

    def __exit__(self, *_: object) -> None:
        """Kill those that still run."""
        self._stack.close()

    async def ready(self, load: Load | None = None) -> None:
        """Until each of them has its partitions; stalls of that load count from then on."""
        for worker in self.workers:
            await asyncio.to_thread(worker.until, is_ready)
        if load is not None:
            load.start_over()

    async def stopped(self) -> list[str]:
        """End them all by SIGTERM, and give what went wrong with it."""
        return [
            f"a worker told to stop ended with {code}: {worker.log[-500:]}"
            for worker in self.workers
            if worker.exit_code is None and (code := await asyncio.to_thread(worker.end, signal.SIGTERM))
        ]

    def unexpected_ends(self) -> list[str]:
        """Of workers that ended by themselves."""
        return [
            f"a worker ended by itself with {worker.exit_code}: {worker.log.strip().splitlines()[-1:]}"
            for worker in self.workers
            if worker.exit_code is not None
        ]


async def settled(
    load: Load, policy: WindowPolicy = POLICY, counted: Callable[[bytes], bool] = everybody
) -> tuple[Accounts, list[str]]:
    """The accounts of a run whose workers are done, and what is wrong with them."""
    accounts, in_log = await settle_log(load.bootstrap_servers, APP_ID, policy, counted)
    problems = accounts.problems()
    if vanished := len(load.feeder.acknowledged - in_log):
        problems.append(f"{vanished} events that the broker acknowledged are not in its log")
    return accounts, problems


async def told(
    gate: str, promise: str, run: Run, load: Load, *, figures: Mapping[str, object], problems: Sequence[str]
) -> Verdict:
    """The verdict of a run whose workers are done: its accounts, its figures and what else went wrong."""
    accounts, wrong = await settled(load)
    shown = {**accounts.figures(), **load.figures(), "seed": run.seed, **figures}
    return Verdict(gate, promise, shown, [*problems, *wrong])
