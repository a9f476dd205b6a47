"""Gate G4: whatever happens to the model server, no worker restarts and users get updates by the fallback ladder.

A real worker on a real broker with the shipped model on the bundled Triton: the server is halted, killed and started
again, and its head's python process is killed, which the worker mends by itself. Then the same worker in front of a
scripted server with Triton's protocol: answers with NaN, of a wrong shape, of another label set. Each fault must open
the breaker, each end of a fault must close it, and in the end the last update of every user is the model's.

    python -m benchmarks.model_faults --json figures.json
"""

import argparse
import asyncio
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.chaos.accounts import Accounts, added
from benchmarks.chaos.settlement import settle_log
from benchmarks.chaos.watch import watched
from benchmarks.model_fault_kinds import Fault, real_faults, scripted, scripted_faults
from benchmarks.report import keep, table
from benchmarks.servers import MODELS, REPOSITORY, bundled_triton, empty_broker
from stream.clock import SystemClock
from stream.events import UPDATES_TOPIC
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, Fed, events, produce
from tests.brokers import Broker, recreate_topics
from tests.worker_process import WorkerProcess, latest_by_key, loads, read_topic, total

APP_ID: Final = "model-faults"
DEFAULT_SEED: Final = 7
_USERS: Final = 40
#: Fed before the first fault, during each fault, and after each.
_STEP: Final = 120
_LADDER: Final = ("cached", "profile", "none")
#: Topics are not read in step, so nothing may be late.
_POLICY: Final = WindowPolicy(lateness_grace_ms=30 * 86_400_000)
_clock = SystemClock()

Samples = Mapping[str, float]


class Figures(NamedTuple):
    """What one fault did."""

    fault: str
    updates_by_ladder: int
    most_due_users: int
    breaker_opened: bool
    breaker_closed: bool
    due_left: int
    recovery_seconds: float
    worker_restarts: int
    passed: bool


class _Part(NamedTuple):
    """What came of the faults of one server."""

    figures: list[Figures]
    accounts: Accounts
    longest_stall_seconds: float
    exit_code: int | None

    def problems(self) -> list[str]:
        """What breaks the promise."""
        problems = [f"{figure.fault}: {_shown(figure)}" for figure in self.figures if not figure.passed]
        if not problems and self.exit_code:
            problems.append(f"the worker ended with {self.exit_code} when it was told to stop")
        return problems + self.accounts.problems()


def _shown(figure: Figures) -> str:
    return ", ".join(f"{name} {value}" for name, value in figure._asdict().items() if name != "fault")


def measure(broker: Broker, seed: int = DEFAULT_SEED) -> dict[str, Any]:
    """The gate's figures; ``pass`` says whether it holds."""
    with bundled_triton(REPOSITORY, MODELS) as triton:
        parts = [_under(broker, seed, triton.grpc_url, real_faults(triton), triton.admin_key)]
    with scripted() as (url, server):
        parts.append(_under(broker, seed, url, scripted_faults(server), "none needed"))
    figures = [figure for part in parts for figure in part.figures]
    problems = [problem for part in parts for problem in part.problems()]
    return {
        "pass": not problems,
        **added([part.accounts for part in parts]).figures(),
        "longest_stall_seconds": max(part.longest_stall_seconds for part in parts),
        "seed": seed,
        "broker": broker.kind,
        "worker_restarts": sum(figure.worker_restarts for figure in figures),
        "faults": {figure.fault: figure._asdict() for figure in figures},
        "problems": problems,
    }


def _under(broker: Broker, seed: int, url: str, faults: Sequence[Fault], key: str) -> _Part:
    servers = broker.bootstrap_servers
    asyncio.run(recreate_topics(broker, APP_ID))
    fed = events(_STEP * (1 + 2 * len(faults)), users=_USERS, seed=seed)
    steps = [fed[start : start + _STEP] for start in range(0, len(fed), _STEP)]
    with (
        tempfile.TemporaryDirectory() as directory,
        watched(servers, APP_ID) as progress,
        _worker(Path(directory), broker, url, key) as worker,
    ):
        run = _Run(broker, worker)
        run.feed(steps[0])
        worker.until(lambda now: run.is_calm(now) and now["interestflow_ready"] == 1)
        progress.forget_stalls()
        figures: list[Figures] = []
        for number, fault in enumerate(faults):
            figures.append(run.suffer(fault, steps[1 + 2 * number], steps[2 + 2 * number]))
            if not figures[-1].passed:
                break  # the worker is not as the next fault expects it
        stall = round(progress.longest_stall_seconds, 1)
        code = worker.end(signal.SIGTERM) if figures[-1].passed else None
    accounts, _ = asyncio.run(settle_log(servers, APP_ID, _POLICY))
    return _Part(figures, accounts, stall, code)


def _worker(directory: Path, broker: Broker, url: str, key: str) -> WorkerProcess:
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID=APP_ID,
        KAFKA__BROKER=broker.kind,
        WINDOW__LATENESS_GRACE_HOURS="720",
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(REPOSITORY.absolute()),
        MODEL__GRPC_URL=url,
        MODEL__RESTRICTED_KEY=key,
        # Short, so that a breaker's five failures don't take a minute; long enough for a machine that is busy.
        MODEL__DEADLINE_SECONDS="1.0",
        MODEL__BATCH_ROWS="8",
        SCORE__MIN_INTERVAL_SECONDS="0.1",
        SCORE__RETRY_SECONDS="0.5",
        # No reviews: only the fed events make users due.
        SCORE__REVIEW_HOURS="2160",
    )


class _Run:
    """One worker and what was fed to it."""

    def __init__(self, broker: Broker, worker: WorkerProcess) -> None:
        self._broker = broker
        self._worker = worker
        self._fed: list[Fed] = []
        self._most_due = 0

    def feed(self, step: Sequence[Fed]) -> None:
        asyncio.run(produce(self._broker.bootstrap_servers, step))
        self._fed.extend(step)

    def is_calm(self, now: Samples) -> bool:
        """Whether all is folded and nobody is due."""
        return self._is_folded(now) and now["interestflow_due_users"] == 0

    def _is_folded(self, now: Samples) -> bool:
        self._most_due = max(self._most_due, int(now["interestflow_due_users"]))
        return total(now, "events") >= len(self._fed)

    def suffer(self, fault: Fault, during: Sequence[Fed], after: Sequence[Fed]) -> Figures:
        """Bring the fault on, feed, mend it, feed, and wait until all is well."""
        try:
            return self._suffer(fault, during, after)
        except AssertionError as error:  # what was waited for did not come
            print(f"{fault.name}: {error}")
            ended = int("the worker ended" in str(error))
            return Figures(fault.name, 0, self._most_due, False, False, len(self._fed), 0.0, ended, False)  # noqa: FBT003 - fields

    def _suffer(self, fault: Fault, during: Sequence[Fed], after: Sequence[Fed]) -> Figures:
        before = self._worker.scrape()
        self._most_due = 0
        fault.begin()
        try:
            self.feed(during)
            now = self._worker.until(
                lambda now: (
                    total(now, "events") >= len(self._fed)
                    and by_ladder(now) > by_ladder(before)
                    and is_open(now)
                )
            )
            answered = by_ladder(now) - by_ladder(before)
        finally:
            mended_at = _clock.monotonic_seconds()
            fault.mend()
        self.feed(after)
        now = self._worker.until(
            lambda now: self.is_calm(now) and not is_open(now) and now["interestflow_ready"] == 1
        )
        seconds = _clock.monotonic_seconds() - mended_at
        wrong = self._users_without_the_model()
        return Figures(
            fault=fault.name,
            updates_by_ladder=int(answered),
            most_due_users=self._most_due,
            breaker_opened=True,
            breaker_closed=not is_open(now),
            due_left=wrong,
            recovery_seconds=round(seconds, 1),
            worker_restarts=0,
            # What waits is bounded by the users, however many events come while nothing is scored.
            passed=answered > 0 and wrong == 0 and self._most_due <= _USERS,
        )

    def _users_without_the_model(self) -> int:
        """Users whose last update is missing or not the model's."""
        records = asyncio.run(read_topic(self._broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
        sources = {key: loads(value)["source"] for key, value in latest_by_key(records).items()}
        return sum(sources.get(key) != "model" for key in {item.key for item in self._fed})


def by_ladder(samples: Samples) -> float:
    """Updates that went out without the model."""
    return sum(samples.get(f"interestflow_interest_updates_total|{source}", 0.0) for source in _LADDER)


def is_open(samples: Samples) -> bool:
    """Whether the breaker of either model holds calls back."""
    return any(samples.get(f"interestflow_model_breaker_open|{model}", 0.0) == 1 for model in MODELS)


def main() -> None:
    """Run the gate from the command line; exit code 1 if it does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--broker", choices=("kafka", "tansu"), default="kafka")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    asked = parser.parse_args()
    with empty_broker(asked.broker) as servers:
        told = measure(Broker(asked.broker, servers), asked.seed)
    header = ("fault", "updates by ladder", "recovered after s", "users left", "passed")
    print(
        table(
            header,
            [
                (name, row["updates_by_ladder"], row["recovery_seconds"], row["due_left"], str(row["passed"]))
                for name, row in told["faults"].items()
            ],
        )
    )
    print(
        f"G4: {'pass' if told['pass'] else 'FAIL'}, {told['worker_restarts']} worker restarts, seed {told['seed']}"
    )
    for problem in told["problems"]:
        print(f"  {problem}")
    keep({"gates": {"G4": told}}, asked.json)
    raise SystemExit(0 if told["pass"] else 1)


if __name__ == "__main__":
    main()
