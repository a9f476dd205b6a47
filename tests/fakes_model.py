"""A model in memory and a clock that only sleeping moves; the contract suite holds the model honest."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.features import profile_scores
from stream.hashing import hash64
from stream.model.failures import FailureKind, ModelCallError
from stream.model.port import INTENT_DAYS, Floats, Scored
from stream.model.repository import ENCODER, HEAD


class FakeModel:
    """A ``ModelPort``: texts with common words are near each other, scores follow the counts and the window.

    ``stop`` makes it fail as a server that is down, until ``start``; after ``fails_after_calls`` of the encoder it
    stops by itself. ``hold`` keeps answers back until ``release``. ``asked_texts`` and ``asked_users`` list the calls.
    """

    def __init__(self, labels: int, dimensions: int = 384) -> None:
        self.labels = labels
        self.dimensions = dimensions
        self.asked_texts: list[list[str]] = []
        self.asked_users: list[int] = []
        self.failure: Exception | None = None
        self.fails_after_calls: int | None = None
        self._interests = _unit(np.random.default_rng(11).normal(size=(labels, dimensions)))
        self._answering = asyncio.Event()
        self._answering.set()

    def stop(self) -> None:
        """From now on every call fails."""
        self.failure = ModelCallError(HEAD, FailureKind.UNAVAILABLE, "the fake was stopped")

    def start(self) -> None:
        """From now on calls are answered."""
        self.failure = None

    def hold(self) -> None:
        """From now on calls wait."""
        self._answering.clear()

    def release(self) -> None:
        """Calls go on."""
        self._answering.set()

    async def encode(self, texts: Sequence[str]) -> Floats:
        """[n, D]; the sum of the words' own vectors, and a little of each pair of words."""
        self.asked_texts.append(list(texts))
        await self._answer(ENCODER)
        rows = [self._text(text) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.dimensions)

    async def score(self, history: Floats, user: Floats, window: Floats) -> Scored:
        """From [n, L, H], [n, U] and [n, K, D]."""
        self.asked_users.append(len(user))
        await self._answer(HEAD)
        counted = profile_scores(history.reshape(-1, history.shape[-1])).reshape(-1, self.labels)
        # Rows apart, so that a row's last bit doesn't depend on who shares the batch.
        near = np.stack([self._interests @ row[1] for row in window]) if len(window) else counted
        scores = 0.9 * counted + 0.05 * (1.0 + np.clip(near, -1.0, 1.0))
        days = np.array(INTENT_DAYS) / 28.0
        intent = 1.0 - np.exp2(-np.maximum(user[:, 2:3], 0.0) * days)
        return Scored(scores.astype(np.float32), intent.astype(np.float32), window[:, 1].copy())

    async def _answer(self, model: str) -> None:
        if self.fails_after_calls is not None and len(self.asked_texts) > self.fails_after_calls:
            self.stop()
        await self._answering.wait()
        if isinstance(self.failure, ModelCallError):
            raise ModelCallError(model, self.failure.kind, self.failure.detail)
        if self.failure is not None:
            raise self.failure

    def _text(self, text: str) -> Floats:
        words = ["", *text.lower().split()]
        pairs = [self._word(" ".join(pair)) for pair in pairwise(words)]
        return _unit(np.sum([self._word(word) for word in words] + [0.1 * pair for pair in pairs], axis=0))

    def _word(self, word: str) -> Floats:
        drawn = np.random.default_rng(hash64(word.encode())).normal(size=self.dimensions)
        return np.asarray(drawn, dtype=np.float32)


class SteppedClock:
    """Time stands still but for sleeping and ``pass_seconds``; ``slept`` lists the sleeps."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def pass_seconds(self, seconds: float) -> None:
        """Let so much time go by."""
        self.seconds += seconds

    def wall_ms(self) -> int:
        """UTC epoch in ms."""
        return int(self.seconds * 1000)

    def monotonic_seconds(self) -> float:
        """For durations."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Gives way once."""
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class RecordingObserver:
    """Lists what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.held_back: list[str] = []
        self.moves: list[tuple[str, bool]] = []
        self.looked_up: list[tuple[int, int, int]] = []
        self.images: list[tuple[int, int]] = []

    def call_ended(self, model: str, outcome: str, rows: int, seconds: float) -> None:
        """Model, outcome, rows."""
        self.calls.append((model, str(outcome), rows))

    def call_held_back(self, model: str) -> None:
        """Model."""
        self.held_back.append(model)

    def breaker_moved(self, model: str, *, is_open: bool) -> None:
        """Model and whether it opened."""
        self.moves.append((model, is_open))

    def vectors_looked_up(self, hits: int, misses: int, held: int) -> None:
        """Hits, misses, held."""
        self.looked_up.append((hits, misses, held))

    def images_looked_up(self, found: int, unknown: int) -> None:
        """Found, unknown."""
        self.images.append((found, unknown))


def _unit(vectors: NDArray[Any]) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)
