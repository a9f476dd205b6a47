"""Vectors of texts: each distinct appearance is encoded once, by its text, and then remembered."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from stream.model.failures import FailureKind, ModelCallError
from stream.model.observer import ModelObserver, NoObserver
from stream.model.port import Floats, ModelPort
from stream.model.repository import ENCODER
from stream.render import text_and_image

#: Texts of one call: the encoder's max_batch_size on a CPU.
CALL_TEXTS: Final = 16

VectorKey = tuple[str, int]


class VectorCache:
    """Vectors by (encoder version, text hash); the least recently used falls out.

    A vector of 384 dimensions takes 1.9 KiB, its key and place included.

    Args:
        capacity: Most vectors held.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[VectorKey, Floats] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: VectorKey) -> Floats | None:
        """The vector [D] if it is held; counted as a hit or a miss."""
        vector = self._vectors.get(key)
        if vector is None:
            self.misses += 1
            return None
        self.hits += 1
        self._vectors.move_to_end(key)
        return vector

    def put(self, key: VectorKey, vector: Floats) -> None:
        """Hold a vector [D]; it must not change any more."""
        self._vectors[key] = vector
        self._vectors.move_to_end(key)
        if len(self._vectors) > self._capacity:
            self._vectors.popitem(last=False)
            self.evictions += 1


class TextEncoder:
    """Vectors of texts by hash, from the cache or from the model; for one event loop.

    While all calls are in use, texts wait and those of several callers share the next call. A text that is
    already on its way is not asked for again. Failures are not remembered.

    Args:
        model: Who encodes.
        encoder_version: Of that model.
        cache: May be shared by encoders of different versions.
        concurrency: Calls in flight at most; more than the encoder has instances only queue up there.
        observer: Told of each look-up.
    """

    def __init__(
        self,
        model: ModelPort,
        encoder_version: str,
        cache: VectorCache,
        *,
        concurrency: int = 2,
        observer: ModelObserver | None = None,
    ) -> None:
        self._model = model
        self._encoder_version = encoder_version
        self._cache = cache
        self._concurrency = concurrency
        self._observer = observer or NoObserver()
        self._waiting: deque[tuple[int, str]] = deque()
        self._answers: dict[int, asyncio.Future[Floats]] = {}
        self._calls: dict[asyncio.Task[Floats], list[int]] = {}

    async def vectors(self, text_by_hash: Mapping[int, str]) -> dict[int, Floats]:
        """The vector [D] of every text, by its hash; vectors are shared, so they are read-only.

        A cancelled caller leaves its texts on their way: others may wait for them, and it will ask again.

        Raises:
            ModelUnavailableError: The model did not give all of them; those that it gave are remembered.
        """
        found: dict[int, Floats] = {}
        missing: dict[int, str] = {}
        for text_hash, text in text_by_hash.items():
            vector = self._cache.get((self._encoder_version, text_hash))
            if vector is None:
                missing[text_hash] = text
            else:
                found[text_hash] = vector
        answers = self._ask(missing)
        self._observer.vectors_looked_up(len(found), len(missing), len(self._cache))
        if answers:
            # Unlike gather, a cancelled wait does not cancel what others wait for too.
            await asyncio.wait(answers.values())
            found.update((text_hash, answer.result()) for text_hash, answer in answers.items())
        return found

    async def close(self) -> None:
        """Give up all calls; whoever waits gets a ModelUnavailableError."""
        self._waiting.clear()
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for answer in self._answers.values():
            _fail(answer, _closed())
        self._answers.clear()

    def _ask(self, missing: Mapping[int, str]) -> dict[int, asyncio.Future[Floats]]:
        answers: dict[int, asyncio.Future[Floats]] = {}
        # By length, so that short texts aren't padded to the length of long ones in their call.
        for text_hash, text in sorted(missing.items(), key=lambda entry: len(entry[1])):
            answer = self._answers.get(text_hash)
            if answer is None:
                answer = self._answers[text_hash] = asyncio.get_running_loop().create_future()
                self._waiting.append((text_hash, text))
            answers[text_hash] = answer
        self._fill_calls()
        return answers

    def _fill_calls(self) -> None:
        while self._waiting and len(self._calls) < self._concurrency:
            taken = [self._waiting.popleft() for _ in range(min(CALL_TEXTS, len(self._waiting)))]
            call = asyncio.create_task(self._encode(taken))
            self._calls[call] = [text_hash for text_hash, _ in taken]
            call.add_done_callback(self._ended)

    async def _encode(self, taken: list[tuple[int, str]]) -> Floats:
        return await self._model.encode([text_and_image(appeared)[0] for _, appeared in taken])

    def _ended(self, call: asyncio.Task[Floats]) -> None:
        error = _closed() if call.cancelled() else call.exception()
        for row, text_hash in enumerate(self._calls.pop(call)):
            answer = self._answers.pop(text_hash)
            if error is not None:
                _fail(answer, error)
                continue
            # A copy: one row that is still held would keep the other rows of its call in memory.
            vector = call.result()[row].copy()
            vector.setflags(write=False)
            self._cache.put((self._encoder_version, text_hash), vector)
            answer.set_result(vector)
        self._fill_calls()


def _fail(answer: asyncio.Future[Floats], error: BaseException) -> None:
    answer.set_exception(error)
    # Marks it as seen: its only caller may have been cancelled, and asyncio would log an error never retrieved.
    answer.exception()


def _closed() -> ModelCallError:
    return ModelCallError(
        ENCODER, FailureKind.UNAVAILABLE, "this encoder was closed", cure="make a new one to go on"
    )
