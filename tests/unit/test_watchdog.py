"""The watchdog over a worker that is told how it stands; only the broker and Faust are stood in for."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from stream.assignment import Assignment, AssignmentParts
from stream.metrics import Metrics
from stream.partitioner import partitioner
from stream.setting_sections import WatchdogSettings
from stream.stall import Place, Position
from stream.stores.memory import MemoryStore
from stream.watchdog import NoPartitionsError, Watchdog, WatchdogParts, WorkerStalledError
from tests.builders import FakeSender, FrozenClock

CLICK, BROWSE = ("behaviour.click", 1), ("behaviour.browse", 1)


class ToldApp:
    """Answers what a Faust app would."""

    def __init__(self) -> None:
        self.crashed = False
        self.crash_reason: BaseException | None = None
        self.in_recovery = False
        self.changelogs: dict[Place, Position] = {}
        self.read_to_end: set[Place] = set()

    def recovery_positions(self) -> dict[Place, Position]:
        return self.changelogs

    async def is_read_to(self, place: Place, end_offset: int) -> bool:
        return place in self.read_to_end


class ToldOffsets:
    """Answers what a broker would; without positions every partition is read to its end."""

    def __init__(self) -> None:
        self.told: dict[Place, Position] = {}
        self.away = self.cancels = False

    async def positions(self, places: Sequence[Place]) -> Mapping[Place, Position]:
        if self.cancels:
            raise asyncio.CancelledError
        if self.away:
            raise KafkaConnectionError("no broker")
        return {place: self.told.get(place, Position(0, 0)) for place in places}

    async def close(self) -> None:
        pass


class ToldScoring:
    """Answers what SCORE would."""

    def __init__(self) -> None:
        self.attempted_at = 0.0
        self.behind = False

    def attempts(self) -> tuple[float, bool]:
        return self.attempted_at, self.behind


class Watched:
    """A watchdog and all that it sees, with the default limits: a look every 10 s, 60 s, 180 s."""

    def __init__(self) -> None:
        self.clock, self.metrics = FrozenClock(), Metrics()
        self.ended: list[BaseException] = []
        self.app, self.offsets, self.scoring = ToldApp(), ToldOffsets(), ToldScoring()
        assignment: Any = Assignment(
            AssignmentParts(
                MemoryStore(), MemoryStore(), partitioner("murmur2", 4), 0, self.metrics, self.ended.append,
                FakeSender(), self.offsets.positions,
            )
        )  # fmt: skip
        assignment.app, assignment.scoring = self.app, self.scoring
        self.assignment: Assignment = assignment
        parts = WatchdogParts(assignment, self.offsets, 4, self.clock, self.metrics, self.ended.append)
        self.watchdog = Watchdog(parts, WatchdogSettings())
        self.assignment.partitions = frozenset({1})

    async def after(self, seconds: int) -> None:
        """Look every 10 s for so long, and once at first."""
        await self.watchdog.look()
        for _ in range(seconds // 10):
            self.clock.monotonic += 10.0
            await self.watchdog.look()

    def age(self, place: Place) -> float | None:
        labels = {"topic": place[0], "partition": str(place[1])}
        return self.metrics.registry.get_sample_value("interestflow_committed_offset_age_seconds", labels)


async def test_a_partition_whose_commits_go_on_is_no_problem() -> None:
    watched = Watched()
    for offset in range(40):
        watched.offsets.told[CLICK] = Position(offset, 1000)
        await watched.after(10)

    assert watched.watchdog.problems() == []
    assert watched.age(CLICK) == 10.0


async def test_a_partition_that_is_read_to_its_end_may_stand_still() -> None:
    watched = Watched()
    watched.offsets.told[CLICK] = Position(1000, 1000)

    await watched.after(3600)

    assert watched.watchdog.problems() == []
    assert watched.age(CLICK) == 0.0


async def test_after_a_minute_the_worker_is_not_ready_and_says_which_partition() -> None:
    watched = Watched()
    watched.offsets.told[CLICK] = Position(7, 1000)

    await watched.after(50)
    before = watched.watchdog.problems()
    await watched.after(10)

    assert before == []
    assert watched.watchdog.problems() == [
        "behaviour.click partition 1 stands at offset 7 for 60 s, its log ends at 1000"
    ]
    assert (watched.age(CLICK), watched.age(BROWSE)) == (60.0, 0.0)


async def test_after_three_minutes_it_ends_and_says_which_partition() -> None:
    watched = Watched()
    watched.offsets.told[CLICK] = Position(7, 1000)

    await watched.after(170)
    with pytest.raises(WorkerStalledError) as caught:
        await watched.after(10)

    assert str(caught.value) == (
        "behaviour.click partition 1 stands at offset 7 for 180 s, its log ends at 1000: its records are not folded any "
        "more; restart the worker"
    )


async def test_time_without_an_answer_of_the_broker_does_not_count() -> None:
    watched = Watched()
    watched.offsets.told[CLICK] = Position(7, 1000)
    await watched.after(20)
    watched.offsets.away = True
    with pytest.raises(KafkaConnectionError):
        await watched.watchdog.look()
    watched.clock.monotonic += 3600.0
    watched.offsets.away = False

    await watched.watchdog.look()

    assert watched.age(CLICK) == 40.0
    assert watched.watchdog.problems() == []


async def test_the_marker_of_a_transaction_at_the_end_is_nothing_to_fold() -> None:
    watched = Watched()
    watched.offsets.told[CLICK] = Position(999, 1000)
    watched.app.read_to_end.add(CLICK)

    await watched.after(3600)

    assert watched.watchdog.problems() == []


async def test_a_rebalance_forgets_the_ages() -> None:
    watched = Watched()
    watched.offsets.told[CLICK] = Position(7, 1000)
    await watched.after(100)
    watched.assignment.partitions = None
    await watched.watchdog.look()
    gone = watched.age(CLICK)
    watched.assignment.partitions = frozenset({1})

    await watched.watchdog.look()

    assert (gone, watched.age(CLICK)) == (None, 0.0)
    assert watched.watchdog.problems() == []


async def test_a_recovery_that_gets_on_may_take_long() -> None:
    watched = Watched()
    watched.assignment.partitions, watched.app.in_recovery = None, True
    for offset in range(100):
        watched.app.changelogs = {("app-user-behaviour-changelog", 1): Position(offset, 1000)}
        await watched.after(10)

    assert watched.watchdog.problems() == []


async def test_a_recovery_that_waits_for_records_that_are_gone_ends_by_name() -> None:
    watched = Watched()
    watched.assignment.partitions, watched.app.in_recovery = None, True
    watched.app.changelogs = {("app-user-behaviour-changelog", 1): Position(40, 41)}

    await watched.after(170)
    with pytest.raises(WorkerStalledError) as caught:
        await watched.after(10)

    assert str(caught.value) == (
        "app-user-behaviour-changelog partition 1 stands at offset 40 for 180 s, its log ends at 41: the recovery "
        "of the state does not end; restart the worker"
    )


async def test_a_rebalance_that_does_not_end_ends_the_worker() -> None:
    watched = Watched()
    watched.assignment.partitions = None

    await watched.after(170)
    with pytest.raises(
        WorkerStalledError, match=r"no partitions were assigned for 180 s although the broker"
    ):
        await watched.after(10)


async def test_a_rebalance_while_the_broker_is_away_waits_for_it() -> None:
    watched = Watched()
    watched.assignment.partitions, watched.offsets.away = None, True

    for _ in range(100):
        watched.clock.monotonic += 10.0
        with pytest.raises(KafkaConnectionError):
            await watched.watchdog.look()


async def test_a_worker_without_partitions_ends_once_its_grace_is_over() -> None:
    watched = Watched()
    watched.assignment.partitions = frozenset()

    await watched.after(50)
    with pytest.raises(NoPartitionsError) as caught:
        await watched.after(10)

    assert str(caught.value) == (
        "this worker was given none of the 4 partitions for 60 s: there are more workers than partitions; run at most 4, "
        "or raise the partition count (docs/scaling.md)"
    )


async def test_a_worker_that_is_given_partitions_within_the_grace_stays() -> None:
    watched = Watched()
    watched.assignment.partitions = frozenset()
    await watched.after(50)
    watched.assignment.partitions = frozenset({1})
    await watched.after(10)
    watched.assignment.partitions = frozenset()

    await watched.after(50)


async def test_due_users_of_whom_none_is_tried_end_the_worker() -> None:
    watched = Watched()
    watched.scoring.behind = True

    await watched.after(170)
    with pytest.raises(WorkerStalledError) as caught:
        await watched.after(10)

    assert str(caught.value) == (
        "users are due and none was tried for 180 s: scoring hangs; restart the worker, who is due is found again from the "
        "state"
    )


async def test_scoring_that_tries_again_and_again_is_no_hang() -> None:
    watched = Watched()
    watched.scoring.behind = True
    for attempt in range(100):
        watched.scoring.attempted_at = float(attempt)
        await watched.after(10)


async def test_an_app_that_crashed_ends_the_worker_at_once() -> None:
    watched = Watched()
    watched.app.crashed, watched.app.crash_reason = True, RuntimeError("sync group")

    with pytest.raises(WorkerStalledError) as caught:
        await watched.watchdog.look()

    assert str(caught.value) == "Faust ended by RuntimeError('sync group'): restart the worker"


async def test_a_watchdog_that_is_cancelled_by_what_it_asks_ends_the_worker() -> None:
    watched = Watched()
    watched.offsets.cancels = True

    watched.watchdog.start()
    while not watched.ended:
        await asyncio.sleep(0)
    await watched.watchdog.stop()

    assert [str(error) for error in watched.ended] == [
        "the watchdog was cancelled although the worker goes on: nobody would see a stall; restart the worker"
    ]


async def test_a_watchdog_that_is_stopped_ends_nothing() -> None:
    watched = Watched()

    watched.watchdog.start()
    await asyncio.sleep(0)
    await watched.watchdog.stop()

    assert watched.ended == []
