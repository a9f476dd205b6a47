"""Users to a lane's answer: vectors of their texts → features (stream.moment) → model."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import structlog

from stream.clock import Clock
from stream.due import DueUser
from stream.errors import ModelUnavailableError
from stream.features import Floats
from stream.lane import Lane
from stream.metrics import Metrics
from stream.model.port import Scored
from stream.moment import Asked, UserMoment, seen_by, user_moment
from stream.score_record import ScoreRecord, decode_record
from stream.state import UserState
from stream.stores.backend import PartitionStore
from stream.texts import TextCatalog

log = structlog.get_logger(__name__)

#: FOLD gets the event loop after this many users, about 2 ms.
YIELD_EVERY: Final = 2


class WorkTimer:
    """For how long scoring kept the event loop, since the worker started."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self.seconds = 0.0

    @contextmanager
    def piece(self, stage: str) -> Iterator[None]:
        """Time a piece that keeps the event loop."""
        started = self._clock.monotonic_seconds()
        try:
            yield
        finally:
            seconds = self._clock.monotonic_seconds() - started
            self.seconds += seconds
            self._metrics.score_stage.labels(stage).observe(seconds)

    @contextmanager
    def wait(self, stage: str) -> Iterator[None]:
        """Time a wait; one that fails is not observed."""
        started = self._clock.monotonic_seconds()
        yield
        self._metrics.score_stage.labels(stage).observe(self._clock.monotonic_seconds() - started)


class Answered(NamedTuple):
    """What a lane says of some users."""

    lane: Lane
    moments: list[UserMoment]
    scored: Scored | None
    """None: the ladder has to be gone down."""


class Answering:
    """Asks lanes about users; ``review_ms``: how long after a scoring a quiet user is looked at again."""

    def __init__(self, scores: PartitionStore, texts: TextCatalog, timer: WorkTimer, review_ms: int) -> None:
        self._scores = scores
        self._texts = texts
        self._timer = timer
        self._review_ms = review_ms

    async def answer(self, lane: Lane, living: Sequence[tuple[DueUser, UserState]]) -> Answered:
        """A lane's answer for due users."""
        vectors, failed = await self._encode(lane, [state for _, state in living])
        moments: list[UserMoment] = []
        asked = Asked(lane.bundle, self._review_ms)
        for count, (user, state) in enumerate(living):
            if count % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            with self._timer.piece("features"):
                stored = self._scores.get(user.partition, user.key)
                record = ScoreRecord() if stored is None else decode_record(stored)
                if record.revision_scored > state.revision:
                    record = ScoreRecord()  # of a user who was forgotten and came back
                moment = user_moment(user, state, record, vectors, asked)
                coverage = lane.readable.coverage(state.window.texts)
                moments.append(moment._replace(text_coverage=coverage))
        return Answered(lane, moments, None if failed else await self._ask(lane, moments))

    async def again(self, lane: Lane, moments: Sequence[UserMoment]) -> Answered:
        """Another lane's answer for the same moments."""
        vectors, failed = await self._encode(lane, [moment.state for moment in moments])
        seen: list[UserMoment] = []
        for count, moment in enumerate(moments):
            if count % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            with self._timer.piece("features"):
                seen.append(seen_by(moment, vectors, lane.bundle))
        return Answered(lane, seen, None if failed else await self._ask(lane, seen))

    async def _encode(self, lane: Lane, states: Sequence[UserState]) -> tuple[dict[int, Floats], bool]:
        """Vectors by text hash, and whether the encoder failed."""
        wanted = {text_hash for state in states for text_hash in state.window.texts}
        texts = {text_hash: text for text_hash in wanted if (text := self._texts.get(text_hash)) is not None}
        with self._timer.piece("read"):
            lane.readable.look_at(texts)
        try:
            with self._timer.wait("encode"):
                return await lane.encoder.vectors(texts), False
        except ModelUnavailableError as error:
            log.warning("texts_not_encoded", texts=len(texts), version=lane.version, error=str(error))
            return {}, True

    async def _ask(self, lane: Lane, moments: Sequence[UserMoment]) -> Scored | None:
        if not moments:
            return None
        try:
            with self._timer.wait("model"):
                return await lane.model.score(
                    np.stack([moment.history for moment in moments]),
                    np.stack([moment.features for moment in moments]),
                    np.stack([moment.window for moment in moments]),
                )
        except ModelUnavailableError as error:
            log.warning("users_not_scored", users=len(moments), version=lane.version, error=str(error))
            return None
