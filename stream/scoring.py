"""SCORE's life: it works between the end of a rebalance and the start of the next, and never holds FOLD."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from stream.clock import Clock, StreamTime
from stream.due import DueUser, DueUsers
from stream.erasure.marker import is_marker_key
from stream.errors import TransientError
from stream.pacing import ScorePace
from stream.reviews import Review, Reviews
from stream.score_record import peek_review, peek_scored, peek_version
from stream.sender import SendAbandonedError
from stream.setting_sections import ModelSettings, ScoreSettings
from stream.state import peek_revision
from stream.stores.backend import PartitionStore

log = structlog.get_logger(__name__)

#: How long a revocation waits for results in hand; far below any session timeout.
_DRAIN_SECONDS: Final = 2.0
#: Longest nap while nobody is due; on average half of it is added to an update's freshness.
_NAP_SECONDS: Final = 0.05
#: Other tasks get their turn after this many users of a scan.
_YIELD_EVERY: Final = 2000
#: Due users without an attempt for this long make the worker not ready.
_STUCK_SECONDS: Final = 60.0
#: Users of a retired version are added only while fewer batches than this are due.
_SPARE_BATCHES: Final = 4


class BatchScorer(Protocol):
    """Deals with due users; see ``stream.scorer.Scorer``."""

    @property
    def work_seconds(self) -> float:
        """For how long it kept the event loop."""
        ...

    async def score(self, due: Sequence[DueUser], abandoned: Callable[[], bool]) -> list[DueUser]:
        """Make their results durable; gives those that are to be tried again."""
        ...


class ScoringParts(NamedTuple):
    """What the scoring loop works with."""

    scorer: BatchScorer
    due: DueUsers
    pace: ScorePace
    behaviour: PartitionStore
    scores: PartitionStore
    time: StreamTime
    clock: Clock
    version_for: Callable[[bytes], str]
    """Version of the head that scores a user now."""


class Scoring:
    """Takes due users in batches and scores them, several batches at once."""

    def __init__(
        self,
        parts: ScoringParts,
        score: ScoreSettings,
        model: ModelSettings,
        generation: Callable[[], int],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._parts = parts
        self._settings = score
        self._rows = model.batch_rows
        self._free = asyncio.Semaphore(model.concurrency)
        self._generation = generation
        self._failed = failed
        self._reviews = Reviews()
        self._partitions: set[int] = set()
        self._outdated: Iterator[tuple[int, bytes] | None] = iter(())
        self._active = False
        self._loop: asyncio.Task[None] | None = None
        self._batches: set[asyncio.Task[None]] = set()
        self._attempted_at = parts.clock.monotonic_seconds()
        self._work_noted = 0.0

    # -- life ---------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Take nobody any more; safe to call from another thread."""
        self._active = False

    async def drain(self) -> None:
        """Give results in hand a short time to be sent, then drop them; the new owner scores these users."""
        self.pause()
        if self._batches:
            _, late = await asyncio.wait(self._batches, timeout=_DRAIN_SECONDS)
            for task in late:
                task.cancel()

    def resume(self, partitions: set[int]) -> None:
        """Find out who is due on these partitions, and work."""
        if self._loop is not None:
            self._loop.cancel()
        self._active = True
        self._loop = asyncio.create_task(self._run(partitions), name="scoring")
        self._loop.add_done_callback(self._ended)

    def versions_changed(self) -> None:
        """Whoever another version scored is scored again, while nobody else is due."""
        self._outdated = self._find_outdated()

    async def stop(self) -> None:
        """Finish what is in hand and end."""
        await self.drain()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    def problems(self) -> list[str]:
        """Why scoring does not work; empty if it does."""
        oldest = self._parts.due.oldest_since()
        now = self._parts.clock.monotonic_seconds()
        if self._active and oldest is not None and now - max(oldest, self._attempted_at) > _STUCK_SECONDS:
            return [
                f"{len(self._parts.due)} users are due and none was tried for {now - self._attempted_at:.0f} s"
            ]
        return []

    def attempts(self) -> tuple[float, bool]:
        """When users were last tried (monotonic seconds), and whether some could be tried or are under way."""
        can_try = self._parts.due.next_in(self._parts.clock.monotonic_seconds()) == 0.0
        return self._attempted_at, self._active and (can_try or bool(self._batches))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    # -- loop ---------------------------------------------------------------------------------------------------

    async def _run(self, partitions: set[int]) -> None:
        self._parts.due.clear()
        self._reviews.clear()
        self._partitions = partitions
        for partition in sorted(partitions):
            await self._find_due(partition)
        self.versions_changed()
        while self._active:
            self._take_reviews()
            wait = self._wait_seconds()
            if wait > 0.0:
                self._take_outdated()
                await self._parts.clock.sleep(min(wait, _NAP_SECONDS))
                continue
            await self._free.acquire()
            self._start_batch()

    def _wait_seconds(self) -> float:
        """Until somebody is due and FOLD leaves room."""
        now, total = self._parts.clock.monotonic_seconds(), self._parts.scorer.work_seconds
        self._parts.pace.scored(total - self._work_noted, now)
        self._work_noted = total
        due_in = self._parts.due.next_in(now)
        return _NAP_SECONDS if due_in is None else max(due_in, self._parts.pace.wait_seconds(now))

    async def _find_due(self, partition: int) -> None:
        """Being due is a matter of revisions, so that a restart forgets nobody."""
        parts, now = self._parts, self._parts.clock.monotonic_seconds()
        for count, (key, data) in enumerate(parts.behaviour.scan(partition)):
            if count % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
            if is_marker_key(key):
                continue  # the erasure is published
            stored = parts.scores.get(partition, key)
            # Below the revision scored is who was forgotten and came back.
            if stored is None or peek_revision(data) != peek_scored(stored):
                parts.due.mark(partition, key, now)
            else:
                self._reviews.plan(Review(peek_review(stored), partition, key))
        for count, (key, _) in enumerate(parts.scores.scan(partition)):
            if count % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
            if parts.behaviour.get(partition, key) is None:
                parts.due.mark(partition, key, now)  # forgotten, and the last update is still out

    def _take_reviews(self) -> None:
        parts = self._parts
        for review in self._reviews.take(parts.time.now_ms(), self._rows):
            stored = parts.scores.get(review.partition, review.key)
            if stored is not None and peek_review(stored) == review.at_ms:
                parts.due.mark(review.partition, review.key, parts.clock.monotonic_seconds())

    def _find_outdated(self) -> Iterator[tuple[int, bytes] | None]:
        """Partition and key of each; None where other tasks should get their turn."""
        scores = self._parts.scores
        for partition in sorted(self._partitions):
            for count, (key, data) in enumerate(scores.scan(partition)):
                if count % _YIELD_EVERY == _YIELD_EVERY - 1:
                    yield None
                version = peek_version(data)
                if version and version != self._parts.version_for(key):
                    yield partition, key

    def _take_outdated(self) -> None:
        """One batch of those whom a retired version scored: of the lowest priority, for their scores still hold."""
        due, now = self._parts.due, self._parts.clock.monotonic_seconds()
        # Not while FOLD has a backlog, nor while users wait for a model that does not answer.
        if due.next_in(now) == 0.0 or len(due) > _SPARE_BATCHES * self._rows:
            return
        for found in itertools.islice(self._outdated, self._rows):
            if found is None:
                return
            due.mark(*found, now)

    def _start_batch(self) -> None:
        users = self._parts.due.take(self._rows, self._parts.clock.monotonic_seconds())
        if not users or not self._active:
            self._free.release()
            return
        self._attempted_at = self._parts.clock.monotonic_seconds()
        task = asyncio.create_task(self._score(users), name="score-batch")
        self._batches.add(task)
        task.add_done_callback(self._batch_ended)

    def _batch_ended(self, task: "asyncio.Task[None]") -> None:
        self._batches.discard(task)
        self._free.release()
        self._ended(task)

    async def _score(self, users: list[DueUser]) -> None:
        generation = self._generation()
        unscored: set[DueUser] = set(users)
        try:
            unscored = set(
                await self._parts.scorer.score(
                    users, lambda: not self._active or self._generation() != generation
                )
            )
        except SendAbandonedError:
            pass  # whoever owns them next finds them due
        except TransientError as error:
            log.warning("batch_put_back", users=len(users), error=str(error))
        finally:
            # After a rebalance the due users were found anew, and some of these may be in other hands.
            if self._active and self._generation() == generation:
                self._put_back(users, unscored)

    def _put_back(self, users: list[DueUser], unscored: set[DueUser]) -> None:
        now = self._parts.clock.monotonic_seconds()
        for user in users:
            again = self._settings.retry_seconds if user in unscored else None
            self._parts.due.done(user, now, retry_in_seconds=again)
            stored = self._parts.scores.get(user.partition, user.key)
            if again is None:  # a user without a record was forgotten, and his review with him
                at_ms = 0 if stored is None else peek_review(stored)
                self._reviews.plan(Review(at_ms, user.partition, user.key))
