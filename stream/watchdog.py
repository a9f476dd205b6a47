"""The watchdog: a worker that has work and does not get on first says that it is not ready, then ends by name.

Faust can lose its way and stay alive: a task that crashed, a rebalance that never ends, a recovery that waits for
records that are gone, a consumer that fetches nothing more. None of that shows in the process, so progress is asked
of the broker: end offset above the committed one, and the committed one unmoved.

What is looked at, one after the other:

- the Faust app crashed → end at once;
- rebalancing: nothing was assigned though the broker answers;
- recovering: offsets of the changelogs don't move;
- assigned nothing: more workers than partitions;
- assigned: committed offsets of the inputs don't move; users are due and none is tried.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

import structlog
from aiokafka.errors import KafkaError

from stream.app import StreamApp
from stream.assignment import Assignment
from stream.clock import Clock
from stream.errors import FatalError, TransientError
from stream.events import OWNED_TOPICS
from stream.metrics import Metrics
from stream.setting_sections import WatchdogSettings
from stream.stall import Place, Position, Stall, StallWatch, Stopwatch

log = structlog.get_logger(__name__)

#: Looks until a stall makes the worker not ready.
_LOOKS: Final = 6
#: A broker that needs longer for an answer is as good as down.
_ANSWER_SECONDS: Final = 10.0
_CANCELLED: Final = (
    "the watchdog was cancelled although the worker goes on: nobody would see a stall; restart the worker"
)
#: For a question to our own consumer; below the one above.
_CONSUMER_SECONDS: Final = 2.0


class WorkerStalledError(FatalError):
    """The worker has work and does not get on; a new process may."""


class NoPartitionsError(FatalError):
    """There are more workers than partitions."""

    def __init__(self, partitions: int, seconds: float) -> None:
        super().__init__(
            f"this worker was given none of the {partitions} partitions for {seconds:.0f} s: there are more workers than "
            f"partitions; run at most {partitions}, or raise the partition count (docs/scaling.md)"
        )


class Offsets(Protocol):
    """Tells committed offsets and log ends; see ``stream.offsets.GroupOffsets``."""

    async def positions(self, places: list[Place]) -> Mapping[Place, Position]:
        """Of these partitions."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class WatchdogParts(NamedTuple):
    """What the watchdog works with."""

    assignment: Assignment
    offsets: Offsets
    partitions: int
    clock: Clock
    metrics: Metrics
    failed: Callable[[BaseException], None]


class Watchdog:
    """Looks at regular times; ``problems`` says what it saw last."""

    def __init__(self, parts: WatchdogParts, settings: WatchdogSettings) -> None:
        self._parts = parts
        self._settings = settings
        self._interval = settings.not_ready_seconds / _LOOKS
        step = 2 * self._interval
        self._inputs, self._changelogs = StallWatch(step), StallWatch(step)
        self._joining, self._spare, self._scoring = Stopwatch(step), Stopwatch(step), Stopwatch(step)
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="watchdog")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Look no more."""
        self._is_stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._parts.offsets.close()

    def problems(self) -> list[str]:
        """What stands still for too long to be ready."""
        limit = self._settings.not_ready_seconds
        stalls = (self._inputs.longest(), self._changelogs.longest())
        return [_sentence(stall) for stall in stalls if stall is not None and stall.seconds >= limit]

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._is_stopping:
            return
        # What it asks may be cancelled under it: by another part of the process, or in the consumer's thread.
        error = WorkerStalledError(_CANCELLED) if task.cancelled() else task.exception()
        if error is not None:
            self._parts.failed(error)

    async def _run(self) -> None:
        while True:
            await self._parts.clock.sleep(self._interval)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self.look()
            except (KafkaError, TransientError, TimeoutError, OSError) as error:
                # Not watched is not stalled: the clients wait for the broker and go on by themselves.
                log.warning("progress_not_known", error=repr(error))
                await self._parts.offsets.close()

    async def look(self) -> None:
        """See what gets on.

        Raises:
            FatalError: If the process must end.
            KafkaError, TransientError: If the broker could not be asked.
        """
        assignment = self._parts.assignment
        app, partitions = assignment.app, assignment.partitions
        assert app is not None, "the watchdog starts after the app was built"
        if app.crashed:
            raise WorkerStalledError(f"Faust ended by {app.crash_reason!r}: restart the worker") from (
                app.crash_reason
            )
        if partitions is None:
            await self._look_while_unassigned(app)
        else:
            self._changelogs.look(self._now(), {})
            await self._look_at_inputs(app, partitions)
            self._look_at_scoring()

    def _now(self) -> float:
        return self._parts.clock.monotonic_seconds()

    # -- on the way to work -------------------------------------------------------------------------------------

    async def _look_while_unassigned(self, app: StreamApp) -> None:
        self._inputs.look(self._now(), {})
        self._parts.metrics.committed_age.clear()
        recovering = bool(app.in_recovery)
        self._changelogs.look(self._now(), app.recovery_positions() if recovering else {})
        self._require(self._changelogs.longest(), "the recovery of the state does not end")
        # Asked for its answer only: a group can't come together while its broker is away.
        await self._parts.offsets.positions([(topic, 0) for topic in OWNED_TOPICS])
        waited = self._joining.look(self._now(), None, behind=not recovering)
        if waited >= self._settings.exit_seconds:
            raise WorkerStalledError(
                f"no partitions were assigned for {waited:.0f} s although the broker answers: a rebalance does not end; "
                "restart the worker, and if that does not help look for one that joins and leaves again and again"
            )

    # -- at work ------------------------------------------------------------------------------------------------

    async def _look_at_inputs(self, app: StreamApp, partitions: frozenset[int]) -> None:
        self._joining.look(self._now(), None, behind=False)
        spare = self._spare.look(self._now(), None, behind=not partitions)
        if spare >= self._settings.spare_seconds:
            raise NoPartitionsError(self._parts.partitions, spare)
        places = [(topic, partition) for topic in OWNED_TOPICS for partition in sorted(partitions)]
        positions = dict(await self._parts.offsets.positions(places)) if places else {}
        behind = {
            place: position for place, position in positions.items() if position.offset < position.end_offset
        }
        answers = await asyncio.gather(*(_is_read(app, place, behind[place]) for place in behind))
        for (place, position), is_read in zip(behind.items(), answers, strict=True):
            if is_read:
                positions[place] = Position(position.end_offset, position.end_offset)
        if self._parts.assignment.partitions != partitions:
            return  # moved meanwhile
        self._inputs.look(self._now(), positions)
        for (topic, partition), seconds in self._inputs.ages().items():
            self._parts.metrics.committed_age.labels(topic, str(partition)).set(seconds)
        self._require(self._inputs.longest(), "its records are not folded any more")

    def _look_at_scoring(self) -> None:
        scoring = self._parts.assignment.scoring
        if scoring is None:
            return
        attempted_at, behind = scoring.attempts()
        seconds = self._scoring.look(self._now(), attempted_at, behind=behind)
        if seconds >= self._settings.exit_seconds:
            raise WorkerStalledError(
                f"users are due and none was tried for {seconds:.0f} s: scoring hangs; restart the worker, who is due is "
                "found again from the state"
            )

    def _require(self, stall: Stall | None, meaning: str) -> None:
        if stall is not None and stall.seconds >= self._settings.exit_seconds:
            log.error(
                "partition_stalled", topic=stall.place[0], partition=stall.place[1], seconds=stall.seconds
            )
            raise WorkerStalledError(f"{_sentence(stall)}: {meaning}; restart the worker")


async def _is_read(app: StreamApp, place: Place, position: Position) -> bool:
    """Whether what is left has no records: a transaction's marker has an offset that is never folded and committed."""
    try:
        async with asyncio.timeout(_CONSUMER_SECONDS):
            return await app.is_read_to(place, position.end_offset)
    except TimeoutError:
        return False  # a consumer that does not answer is what is looked for


def _sentence(stall: Stall) -> str:
    (topic, partition), position = stall.place, stall.position
    return (
        f"{topic} partition {partition} stands at offset {position.offset} for {stall.seconds:.0f} s, its log ends at "
        f"{position.end_offset}"
    )
