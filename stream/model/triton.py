"""The model on Triton Inference Server."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np

from stream.clock import Clock, SystemClock
from stream.model.access import OPEN, TritonAccess
from stream.model.answers import Answer, Widths, label_set_number, read_scored, read_vectors
from stream.model.breaker import Breaker, BreakerPolicy, BreakerState, Permit
from stream.model.connection import Tensors, TritonConnection
from stream.model.failures import CallsHeldBackError, ModelCallError
from stream.model.observer import ModelObserver, NoObserver
from stream.model.port import INTENT_DAYS, Floats, Scored
from stream.model.repository import ModelBundle, ModelVersion
from stream.model.tokens import Tokeniser

#: Rows of one request: what the models take at once on a CPU (max_batch_size).
ENCODE_ROWS: Final = 16
SCORE_ROWS: Final = 64
#: Above the first reconnect back-off of the connection, so that the retry meets a new one if there is any.
_RETRY_PAUSE_SECONDS: Final = 0.15
_OK: Final = "ok"
_CANCELLED: Final = "cancelled"

_Read = TypeVar("_Read")


class CallPolicy(NamedTuple):
    """How patient the client is."""

    deadline_seconds: float = 2.0
    """For one request, its retry included."""
    breaker: BreakerPolicy = BreakerPolicy()
    """Each model has its own: a dead encoder must not stop the scoring of texts already known."""


class TritonModel:
    """A ``ModelPort`` on a Triton server; one per process, used in one event loop.

    Model versions are pinned to those of the bundle. A failed request is tried once more if that may well help;
    then it counts for the breaker of its model. A cancelled call is cancelled on the server too.

    Args:
        url: ``host:port`` of Triton's gRPC service.
        bundle: The repository that the server serves.
        policy: See ``CallPolicy``.
        clock: The machine's if None.
        observer: Told of every call.
        access: TLS and keys of the server.
    """

    def __init__(
        self,
        url: str,
        bundle: ModelBundle,
        *,
        policy: CallPolicy | None = None,
        clock: Clock | None = None,
        observer: ModelObserver | None = None,
        access: TritonAccess = OPEN,
    ) -> None:
        self.bundle = bundle
        self._policy = policy or CallPolicy()
        self._clock = clock or SystemClock()
        self._observer = observer or NoObserver()
        self._tokeniser = Tokeniser(bundle.tokenizer_path, bundle.max_tokens, bundle.buckets)
        self._widths = Widths(bundle.labels, bundle.dimensions, label_set_number(bundle.label_set_hash))
        self._connection = TritonConnection(url, access)
        self._breakers = {
            model.name: Breaker(self._policy.breaker) for model in (bundle.encoder, bundle.head)
        }

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors [n, D] of the texts, in their order, by requests of up to 16 rows one after another.

        Raises:
            ModelCallError: A request gave no usable answer.
        """
        vectors = np.empty((len(texts), self.bundle.dimensions), dtype=np.float32)
        # Texts of like length share a request, so that short ones aren't padded to the length of long ones.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), ENCODE_ROWS):
            rows = order[start : start + ENCODE_ROWS]
            vectors[rows] = await self._encode_rows([texts[row] for row in rows])
        return vectors

    async def score(self, history: Floats, user: Floats, window: Floats) -> Scored:
        """Scores of n users from [n, L, H], [n, U] and [n, K, D], by requests of up to 64 rows one after another.

        Raises:
            ModelCallError: A request gave no usable answer.
        """
        if len(user) == 0:
            return self._scored_nobody()
        parts = [
            await self._score_rows(
                history[start : start + SCORE_ROWS],
                user[start : start + SCORE_ROWS],
                window[start : start + SCORE_ROWS],
            )
            for start in range(0, len(user), SCORE_ROWS)
        ]
        if len(parts) == 1:
            return parts[0]
        return Scored(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    async def close(self) -> None:
        """Close the connection for good; calls under way and later ones fail as unavailable."""
        await self._connection.close()

    async def _encode_rows(self, texts: Sequence[str]) -> Floats:
        model, dimensions = self.bundle.encoder, self.bundle.dimensions
        tokens = self._tokeniser.batch(texts)
        return await self._call(
            model,
            {"INPUT_IDS": tokens.ids, "ATTENTION_MASK": tokens.mask},
            lambda answer: read_vectors(answer, model.name, len(texts), dimensions),
        )

    async def _score_rows(self, history: Floats, user: Floats, window: Floats) -> Scored:
        model = self.bundle.head
        return await self._call(
            model,
            {"HISTORY": history, "USER": user, "WINDOW": window},
            lambda answer: read_scored(answer, model.name, len(user), self._widths),
        )

    def _scored_nobody(self) -> Scored:
        widths = (self.bundle.labels, len(INTENT_DAYS), self.bundle.dimensions)
        return Scored(*(np.empty((0, width), dtype=np.float32) for width in widths))

    async def _call(self, model: ModelVersion, tensors: Tensors, read: Callable[[Answer], _Read]) -> _Read:
        breaker, began = self._breakers[model.name], self._clock.monotonic_seconds()
        permit = breaker.ask(began)
        if permit is None:
            self._observer.call_held_back(model.name)
            raise CallsHeldBackError(model.name, breaker.wait_seconds(began))
        outcome = _CANCELLED
        try:
            answer = read(await self._infer(model, tensors, began))
            outcome = _OK
        except ModelCallError as error:
            outcome = error.kind
            raise
        finally:
            # Also when the caller is cancelled: a trial that no one reports would hold calls back for ever.
            rows = len(next(iter(tensors.values())))
            self._observer.call_ended(model.name, outcome, rows, self._clock.monotonic_seconds() - began)
            self._report(model.name, permit, outcome)
        return answer

    async def _infer(self, model: ModelVersion, tensors: Tensors, began: float) -> Answer:
        deadline = self._policy.deadline_seconds
        try:
            return await self._connection.infer(model, tensors, deadline)
        except ModelCallError as error:
            left = began + deadline - self._clock.monotonic_seconds() - _RETRY_PAUSE_SECONDS
            if not error.is_passing or left <= 0.0:
                raise
        await self._clock.sleep(_RETRY_PAUSE_SECONDS)
        return await self._connection.infer(model, tensors, left)

    def _report(self, name: str, permit: Permit, outcome: str) -> None:
        breaker, now = self._breakers[name], self._clock.monotonic_seconds()
        was_closed = breaker.state(now) is BreakerState.CLOSED
        if outcome == _OK:
            breaker.succeeded(permit)
        elif outcome == _CANCELLED:
            breaker.abandoned(permit)
        else:
            breaker.failed(permit, now)
        is_closed = breaker.state(now) is BreakerState.CLOSED
        if is_closed != was_closed:
            self._observer.breaker_moved(name, is_open=not is_closed)
