"""SCORE, one batch: due users to scores, updates and decisions.

In this order: snapshot the users' states → a lane's answer (stream.answering: vectors, features, model) → results
(stream.results: the fallback ladder, what is news, ad decision) → stream.publisher sends them → the other lane is
compared with, in the background. Nothing is locked meanwhile. A result that comes late or twice can only cause one
more scoring, never an older state.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream.answering import YIELD_EVERY, Answered, Answering, WorkTimer
from stream.clock import Clock, StreamTime
from stream.comparing import Comparing
from stream.due import DueUser
from stream.erasure.burial import Burial
from stream.lanes import Lanes
from stream.metrics import Metrics
from stream.publisher import Erased, Publisher, PublishParts, Result
from stream.results import Answer
from stream.sender import BatchSender
from stream.setting_sections import ScoreSettings
from stream.state import UserState, decode_state
from stream.stores.backend import PartitionStore
from stream.texts import TextCatalog
from stream.withdrawal import refused_by, withdrawal

_HOUR_MS = 3_600_000


class ScoreParts(NamedTuple):
    """What SCORE works with."""

    behaviour: PartitionStore
    scores: PartitionStore
    texts: TextCatalog
    sender: BatchSender
    lanes: Lanes
    time: StreamTime
    clock: Clock
    metrics: Metrics
    burial: Burial
    #: Of users who said nothing.
    default_purposes: int


class Scorer:
    """Scores batches of due users."""

    def __init__(self, parts: ScoreParts, settings: ScoreSettings, changelog_topic: str) -> None:
        self._parts = parts
        self._timer = WorkTimer(parts.clock, parts.metrics)
        review_ms = int(settings.review_hours * _HOUR_MS)
        self._answering = Answering(parts.scores, parts.texts, self._timer, review_ms)
        self.comparing = Comparing(
            self._answering, parts.lanes, parts.clock, parts.metrics, top=settings.top_interests
        )
        self._is_refused = refused_by(parts.default_purposes, parts.time.now_ms)
        self._publisher = Publisher(
            PublishParts(
                parts.behaviour,
                parts.scores,
                parts.sender,
                parts.clock,
                parts.metrics,
                parts.burial,
                self._is_refused,
            ),
            changelog_topic,
        )

    @property
    def work_seconds(self) -> float:
        """For how long scoring kept the event loop, since the worker started."""
        return self._timer.seconds

    async def score(self, due: Sequence[DueUser], abandoned: Callable[[], bool]) -> list[DueUser]:
        """Score users and make the results durable.

        Returns:
            Users that still need the model: they were answered from a lower rung, or not at all.

        Raises:
            SendAbandonedError: If the partitions moved; the new owner scores them.
        """
        with self._timer.piece("load"):
            erased, living = self._load(due)
        answers = await self._answers(living)
        results = [result for answered in answers for result in await self._build(answered)]
        await self._publisher.publish(results, erased, abandoned)
        for answered in answers:
            self.comparing.offer(answered)
        return [moment.due for answered in answers if answered.scored is None for moment in answered.moments]

    def _load(self, due: Sequence[DueUser]) -> tuple[list[Erased], list[tuple[DueUser, UserState]]]:
        """Users of whom nothing may be out, and those to score."""
        erased: list[Erased] = []
        living: list[tuple[DueUser, UserState]] = []
        for user in due:
            data = self._parts.behaviour.get(user.partition, user.key)
            gone = withdrawal(user, data, self._is_refused)
            if gone is not None:
                erased.append(gone)
                continue
            assert data is not None  # who was forgotten is withdrawn
            living.append((user, decode_state(data)))
        return erased, living

    async def _answers(self, living: Sequence[tuple[DueUser, UserState]]) -> list[Answered]:
        """The challenger's answer for its users if it gives one, the champion's for all others."""
        answers: list[Answered] = []
        with self._parts.lanes.held() as (champion, challenger):
            tried = [entry for entry in living if self._parts.lanes.is_tried_on(entry[0].key)]
            if challenger is not None and tried:
                answered = await self._answering.answer(challenger, tried)
                if answered.scored is not None:
                    answers.append(answered)
                    done = {user for user, _ in tried}
                    living = [entry for entry in living if entry[0] not in done]
            if living:
                answers.append(await self._answering.answer(champion, living))
        return answers

    async def _build(self, answered: Answered) -> list[Result]:
        results: list[Result] = []
        parts, scored, lane = self._parts, answered.scored, answered.lane
        for row, moment in enumerate(answered.moments):
            if row % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            with self._timer.piece("results"):
                answer = (
                    None
                    if scored is None
                    else Answer(scored.scores[row], scored.intent[row], scored.user_vectors[row])
                )
                emitted_at_ms, stream_ms = parts.clock.wall_ms(), parts.time.now_ms()
                results.append(
                    lane.results.build(moment, answer, lane.campaigns.snapshot, emitted_at_ms, stream_ms)
                )
        return results
