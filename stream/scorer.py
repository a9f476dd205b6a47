"""SCORE, one batch: due users to scores, updates and decisions.

In this order: snapshot the users' states → vectors of their texts → features (stream.moment) → model → results
(stream.results: the fallback ladder, what is news, ad decision) → stream.publisher sends them. Nothing is locked
meanwhile. A result that comes late or twice can only cause one more scoring, never an older state.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import structlog

from stream.campaigns import Campaigns
from stream.clock import Clock, StreamTime
from stream.due import DueUser
from stream.errors import ModelUnavailableError
from stream.features import Floats
from stream.metrics import Metrics
from stream.model.port import ModelPort, Scored
from stream.model.readable import ReadableTexts
from stream.model.tokens import Tokeniser
from stream.model.vectors import TextEncoder
from stream.moment import UserMoment, user_moment
from stream.publisher import Erased, Publisher, PublishParts, Result
from stream.results import Answer, ResultBuilder, ResultRules
from stream.score_record import ScoreRecord, decode_record
from stream.sender import BatchSender
from stream.state import UserState, decode_state
from stream.stores.backend import PartitionStore
from stream.texts import TextCatalog

log = structlog.get_logger(__name__)

#: FOLD gets the event loop after this many users, about 2 ms.
_YIELD_EVERY: Final = 2


class ScoreParts(NamedTuple):
    """What SCORE works with."""

    behaviour: PartitionStore
    scores: PartitionStore
    texts: TextCatalog
    sender: BatchSender
    model: ModelPort
    encoder: TextEncoder
    campaigns: Campaigns
    time: StreamTime
    clock: Clock
    metrics: Metrics


class Scorer:
    """Scores batches of due users."""

    def __init__(self, parts: ScoreParts, rules: ResultRules, changelog_topic: str) -> None:
        self._parts = parts
        self._bundle = rules.bundle
        self._results = ResultBuilder(rules)
        self._readable = ReadableTexts(
            Tokeniser(self._bundle.tokenizer_path, self._bundle.max_tokens, self._bundle.buckets)
        )
        self._publisher = Publisher(
            PublishParts(parts.behaviour, parts.scores, parts.sender, parts.clock, parts.metrics),
            changelog_topic,
        )
        #: For how long scoring kept the event loop, since the worker started.
        self.work_seconds = 0.0

    async def score(self, due: Sequence[DueUser], abandoned: Callable[[], bool]) -> list[DueUser]:
        """Score users and make the results durable.

        Returns:
            Users that still need the model: they were answered from a lower rung, or not at all.

        Raises:
            SendAbandonedError: If the partitions moved; the new owner scores them.
        """
        with self._work("load"):
            states = [(user, self._load(user)) for user in due]
        erased = [
            Erased(user, state.revision) for user, state in states if state is not None and state.erased_at_ms
        ]
        erased.extend(Erased(user, None) for user, state in states if state is None)
        living = [(user, state) for user, state in states if state is not None and not state.erased_at_ms]
        vectors, failed = await self._encode([state for _, state in living])
        moments = await self._moments(living, vectors)
        scored = None if failed else await self._ask(moments)
        results = await self._build(moments, scored)
        await self._publisher.publish(results, erased, abandoned)
        return [] if scored is not None else [moment.due for moment in moments]

    @contextmanager
    def _work(self, stage: str) -> Iterator[None]:
        """Time a piece that keeps the event loop."""
        started = self._parts.clock.monotonic_seconds()
        try:
            yield
        finally:
            seconds = self._parts.clock.monotonic_seconds() - started
            self.work_seconds += seconds
            self._parts.metrics.score_stage.labels(stage).observe(seconds)

    def _load(self, user: DueUser) -> UserState | None:
        data = self._parts.behaviour.get(user.partition, user.key)
        return None if data is None else decode_state(data)

    async def _encode(self, states: Sequence[UserState]) -> tuple[dict[int, Floats], bool]:
        """Vectors by text hash, and whether the encoder failed."""
        wanted = {text_hash for state in states for text_hash in state.window.texts}
        get = self._parts.texts.get
        texts = {text_hash: text for text_hash in wanted if (text := get(text_hash)) is not None}
        with self._work("read"):
            self._readable.look_at(texts)
        started = self._parts.clock.monotonic_seconds()
        try:
            vectors = await self._parts.encoder.vectors(texts)
        except ModelUnavailableError as error:
            log.warning("texts_not_encoded", texts=len(texts), error=str(error))
            return {}, True
        self._parts.metrics.score_stage.labels("encode").observe(
            self._parts.clock.monotonic_seconds() - started
        )
        return vectors, False

    async def _moments(
        self, living: Sequence[tuple[DueUser, UserState]], vectors: dict[int, Floats]
    ) -> list[UserMoment]:
        moments: list[UserMoment] = []
        for count, (user, state) in enumerate(living):
            if count % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
            with self._work("features"):
                stored = self._parts.scores.get(user.partition, user.key)
                record = ScoreRecord() if stored is None else decode_record(stored)
                if record.revision_scored > state.revision:
                    record = ScoreRecord()  # of a user who was forgotten and came back
                moment = user_moment(user, state, record, vectors, self._bundle)
                coverage = self._readable.coverage(state.window.texts)
                moments.append(moment._replace(text_coverage=coverage))
        return moments

    async def _ask(self, moments: Sequence[UserMoment]) -> Scored | None:
        """The model's answer, or None if the ladder has to be gone down."""
        if not moments:
            return None
        started = self._parts.clock.monotonic_seconds()
        try:
            scored = await self._parts.model.score(
                np.stack([moment.history for moment in moments]),
                np.stack([moment.features for moment in moments]),
                np.stack([moment.window for moment in moments]),
            )
        except ModelUnavailableError as error:
            log.warning("users_not_scored", users=len(moments), error=str(error))
            return None
        self._parts.metrics.score_stage.labels("model").observe(
            self._parts.clock.monotonic_seconds() - started
        )
        return scored

    async def _build(self, moments: Sequence[UserMoment], scored: Scored | None) -> list[Result]:
        results: list[Result] = []
        for row, moment in enumerate(moments):
            if row % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
            with self._work("results"):
                answer = (
                    None
                    if scored is None
                    else Answer(scored.scores[row], scored.intent[row], scored.user_vectors[row])
                )
                snapshot, parts = self._parts.campaigns.snapshot, self._parts
                emitted_at_ms, stream_ms = parts.clock.wall_ms(), parts.time.now_ms()
                results.append(self._results.build(moment, answer, snapshot, emitted_at_ms, stream_ms))
        return results
