"""G1 and G15: workers killed, frozen beyond their session and told to stop, again and again, while events come in."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple

from benchmarks.chaos.arena import (
    SCORING,
    SESSION_SECONDS,
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
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode
from tests.worker_process import WorkerProcess

WORKERS: Final = 3
_RATE: Final = 600.0
#: Longer than the session: the group goes on without a frozen worker, which wakes as a stranger.
_FROZEN_SECONDS: Final = SESSION_SECONDS + 4.0
_clock = SystemClock()


class Fault(NamedTuple):
    """What happens to whom, and for how long all was left in peace before."""

    kind: str
    worker: int
    peace_seconds: float


class Plan(NamedTuple):
    """So many faults, every kind equally often."""

    kinds: tuple[str, ...]
    times: int
    #: Between two of them, on average and at least.
    mean_seconds: float
    least_events: int

    def faults(self, seed: int) -> Iterator[Fault]:
        """In an order and at distances by chance from a seed."""
        chance = random.Random(seed)
        kinds = list(self.kinds) * (self.times // len(self.kinds) + 1)
        chance.shuffle(kinds := kinds[: self.times])
        for kind in kinds:
            yield Fault(kind, chance.randrange(WORKERS), self.mean_seconds * chance.uniform(0.5, 1.5))


_ALL: Final = ("kill", "freeze", "stop")


class Faults:
    """Makes faults and starts again what they ended, as an orchestrator does."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.made: Counter[str] = Counter()
        #: Workers that ended by themselves, by exit code; they are started again.
        self.own_ends: Counter[int] = Counter()
        self.problems: list[str] = []

    async def make(self, fault: Fault) -> None:
        """One fault; returns when the worker is started again or woken."""
        self.restart_ended()
        worker = self._fleet.workers[fault.worker]
        self.made[fault.kind] += 1
        if fault.kind == "freeze":
            worker.send_signal(signal.SIGSTOP)
            await asyncio.sleep(_FROZEN_SECONDS)
            worker.send_signal(signal.SIGCONT)
            return
        number = signal.SIGKILL if fault.kind == "kill" else signal.SIGTERM
        code = await asyncio.to_thread(worker.end, number)
        if fault.kind == "stop" and code != 0 and not _was_starting(worker):
            self.problems.append(f"a worker told to stop ended with {code}: {_last_lines(worker)}")
        worker.start()

    def restart_ended(self) -> None:
        """Start again what ended by itself."""
        for worker in self._fleet.workers:
            if worker.exit_code is not None:
                self.own_ends[worker.exit_code] += 1
                print(
                    f"  a worker ended by itself with {worker.exit_code}: {_last_lines(worker)}", flush=True
                )
                worker.start()


def _was_starting(worker: WorkerProcess) -> bool:
    """Whether it ended before it could listen to signals: while Python imported it."""
    return "health_listening" not in worker.log


def _last_lines(worker: WorkerProcess) -> str:
    return " | ".join(worker.log.strip().splitlines()[-2:])[-600:]


async def nothing_lost(run: Run) -> Verdict:
    """G1: on one node; the long form on three, with three replicas of everything."""
    plan = Plan(_ALL, 4, 4.0, 1_000) if run.short else Plan(_ALL, 21, 20.0, 10_000)
    promise = "no accepted event is lost or counted twice when workers crash, freeze and stop"
    return await _play("G1", promise, run, plan)


async def nothing_lost_to_the_frozen(run: Run) -> Verdict:
    """G15: as G1; each worker that wakes meets a group that went on without it, in the middle of whatever it did."""
    plan = Plan(("freeze",), 4, 4.0, 1_000) if run.short else Plan(("freeze",), 21, 7.0, 3_000)
    promise = "a worker that was frozen beyond its session writes nothing over what its successor wrote"
    return await _play("G15", promise, run, plan)


async def _play(gate: str, promise: str, run: Run, plan: Plan) -> Verdict:
    with ExitStack() as stack:
        broker: KafkaNode | KafkaCluster = (
            KafkaNode(run.directory) if run.short else KafkaCluster(run.directory)
        )
        stack.enter_context(broker)
        await make_topics(broker.bootstrap_servers, replication_factor=1 if run.short else 3)
        fleet = stack.enter_context(Fleet(run.directory, broker.bootstrap_servers, WORKERS, **SCORING))
        async with under_load(broker.bootstrap_servers, run.seed, _RATE) as load:
            await fleet.ready(load)
            made = await _under_faults(load, fleet, list(plan.faults(run.seed)), plan.least_events)
            await _end_in_peace(load, fleet, made)
        accounts, problems = await settled(load)
    return Verdict(
        gate,
        promise,
        {
            **accounts.figures(),
            **load.figures(),
            "seed": run.seed,
            "workers": WORKERS,
            "brokers": 1 if run.short else 3,
            "faults": dict(made.made),
            "least_events_between_faults": plan.least_events,
            "own_ends_by_exit_code": {str(code): times for code, times in made.own_ends.items()},
        },
        [*problems, *made.problems],
    )


async def _under_faults(load: Load, fleet: Fleet, planned: list[Fault], between: int) -> Faults:
    made = Faults(fleet)
    for fault in planned:
        began = _clock.monotonic_seconds()
        restarting = asyncio.create_task(_keep_running(made))
        try:
            await load.committed(between)
            await asyncio.sleep(max(fault.peace_seconds - (_clock.monotonic_seconds() - began), 0.0))
        finally:
            restarting.cancel()
        await made.make(fault)
    return made


async def _keep_running(made: Faults) -> None:
    while True:
        made.restart_ended()
        await asyncio.sleep(1.0)


async def _end_in_peace(load: Load, fleet: Fleet, made: Faults) -> None:
    """All events folded, everybody's last update out, then every worker told to stop."""
    restarting = asyncio.create_task(_keep_running(made))
    try:
        await load.caught_up()
    finally:
        restarting.cancel()
    for worker in fleet.workers:
        await asyncio.to_thread(worker.until, is_ready)
    for worker in fleet.workers:
        code = await asyncio.to_thread(worker.end, signal.SIGTERM)
        if code != 0:
            made.problems.append(f"a worker told to stop in peace ended with {code}: {_last_lines(worker)}")
