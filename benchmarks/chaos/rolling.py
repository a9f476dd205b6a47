"""G7 and G5: workers told to stop, one after the other, while events come in."""

import asyncio
import signal
from typing import Final

from benchmarks.chaos.arena import Fleet, Load, Run, is_ready, make_topics, settled, under_load
from benchmarks.chaos.verdict import Verdict
from stream.clock import SystemClock
from tests.kafka_node import KafkaNode
from tests.worker_process import WorkerProcess

_RATE: Final = 600.0
#: A grace that orchestrators give by default.
_GRACE_SECONDS: Final = 30.0
#: A partition that stands still for longer is a fault, see the watchdog of the worker.
_STALL_SECONDS: Final = 60.0
_clock = SystemClock()


class Stops:
    """What graceful ends were like."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_seconds = 0.0
        self.problems: list[str] = []
        #: Events that a worker found applied already: they were folded, but not committed, by the one before.
        self.reprocessed = 0
        self.reprocessed_by_life: list[int] = []

    async def stop(self, worker: WorkerProcess) -> None:
        """End a worker by SIGTERM and look at how it goes."""
        self.note(worker)
        began = _clock.monotonic_seconds()
        code = await asyncio.to_thread(worker.end, signal.SIGTERM)
        seconds = _clock.monotonic_seconds() - began
        self.count += 1
        self.longest_seconds = max(self.longest_seconds, seconds)
        if code != 0 or seconds > _GRACE_SECONDS:
            self.problems.append(f"a worker ended with {code} after {seconds:.1f} s: {worker.log[-500:]}")

    def note(self, worker: WorkerProcess) -> None:
        """Take a worker's count of repeated events before it is gone."""
        again = ("interestflow_events_total|replayed|", "interestflow_events_total|duplicate|")
        of_this_life = sum(int(value) for name, value in worker.scrape().items() if name.startswith(again))
        self.reprocessed += of_this_life
        self.reprocessed_by_life.append(of_this_life)


async def sigterm(run: Run) -> Verdict:
    """G7: one worker, stopped and started again and again."""
    return await _restarts(run, "G7", workers=1, restarts=3 if run.short else 10)


async def rolling_restart(run: Run) -> Verdict:
    """G5: one worker of several after the other, as a deployment does it."""
    return await _restarts(run, "G5", workers=2 if run.short else 3, restarts=3 if run.short else 10)


_PROMISES: Final = {
    "G7": "SIGTERM under load: exit 0 within the grace, nothing acknowledged comes again",
    "G5": "rolling restart under load: nothing lost, no partition stands still for 60 s",
}


async def _restarts(run: Run, gate: str, workers: int, restarts: int) -> Verdict:
    stops = Stops()
    with KafkaNode(run.directory) as node:
        await make_topics(node.bootstrap_servers)
        with Fleet(run.directory, node.bootstrap_servers, workers) as fleet:
            async with under_load(node.bootstrap_servers, run.seed, _RATE) as load:
                await fleet.ready(load)
                for number in range(restarts):
                    worker = fleet.workers[number % workers]
                    await load.committed(1_000 if run.short else 5_000)
                    await stops.stop(worker)
                    worker.start()
                    await asyncio.to_thread(worker.until, is_ready)
                await load.caught_up()
                problems = fleet.unexpected_ends()
                for worker in fleet.workers:
                    await stops.stop(worker)
            accounts, wrong = await settled(load)
    return Verdict(
        gate,
        _PROMISES[gate],
        {
            **accounts.figures(),
            **load.figures(),
            "seed": run.seed,
            "workers": workers,
            "restarts": restarts,
            "reprocessed": stops.reprocessed,
            "reprocessed_by_life": stops.reprocessed_by_life,
            "longest_exit_seconds": round(stops.longest_seconds, 1),
        },
        [*problems, *stops.problems, *wrong, *_judged(gate, stops, load)],
    )


def _judged(gate: str, stops: Stops, load: Load) -> list[str]:
    if gate == "G7" and stops.reprocessed:
        return [f"{stops.reprocessed} events came again after a graceful end"]
    if gate == "G5" and load.progress.longest_stall_seconds > _STALL_SECONDS:
        return [f"a partition stood still for {load.progress.longest_stall_seconds:.1f} s"]
    return []
