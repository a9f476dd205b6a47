"""Two ways from a user's news to new scores, both through Triton: the shipped one, and BERT over the whole window."""

import random
from typing import Final, Protocol

import numpy as np

from benchmarks.shop import shop_records
from stream.decode import decode_event
from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS
from stream.model.connection import TritonConnection
from stream.model.repository import ModelBundle, ModelVersion
from stream.model.tokens import Tokeniser
from stream.model.triton import CallPolicy, TritonModel
from stream.model.vectors import TextEncoder, VectorCache
from stream.render import render_event

#: A window's text for plain BERT is cut here; it holds about eight behaviours.
WINDOW_TOKENS: Final = 128
_WINDOW_BEHAVIOURS: Final = 12
_KNOWN_TEXTS: Final = 2_000
_USERS: Final = 256
#: Nothing fails here for being slow: the closed loop keeps every queue full.
_PATIENT: Final = CallPolicy(deadline_seconds=30.0)


class UpdatePath(Protocol):
    """One way to score users who have one new behaviour each."""

    #: Users that one call takes, as the worker would put them together.
    most_rows: int

    async def warm_up(self) -> None:
        """Bring it to its usual state."""
        ...

    async def update(self, rows: int) -> None:
        """New scores for that many users."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class TwoStage:
    """The shipped pair with the worker's own client: texts not met before are encoded, then the head scores.

    Args:
        url: Triton's gRPC address.
        bundle: The shipped pair.
        hit_ratio: Share of the new behaviours whose text has a vector already.
    """

    def __init__(self, url: str, bundle: ModelBundle, hit_ratio: float) -> None:
        self.most_rows = 32
        self._model = TritonModel(url, bundle, policy=_PATIENT)
        self._encoder = TextEncoder(self._model, bundle.encoder_version, VectorCache(200_000))
        self._known = dict(enumerate(product_texts(_KNOWN_TEXTS)))
        self._miss_ratio = 1.0 - hit_ratio
        self._missed = 0
        self._owed = 0.0
        self._random = random.Random(11)
        values = np.random.default_rng(5)
        shape = _USERS, bundle.labels, len(HISTORY_FEATURES)
        self._history = values.random(shape, dtype=np.float32) * 30
        self._user = values.random((_USERS, len(USER_FEATURES)), dtype=np.float32) * 30
        windows = values.normal(size=(_USERS, len(WINDOW_HALF_LIVES_DAYS), bundle.dimensions))
        self._window = (windows / np.sqrt(bundle.dimensions)).astype(np.float32)

    async def warm_up(self) -> None:
        """Encode the known texts."""
        await self._encoder.vectors(self._known)

    async def update(self, rows: int) -> None:
        """Vectors of the new behaviours' texts, then scores."""
        self._owed += rows * self._miss_ratio
        misses = int(self._owed)
        self._owed -= misses
        wanted = {key: self._known[key] for key in self._random.sample(range(_KNOWN_TEXTS), rows - misses)}
        wanted.update(self._unmet_texts(misses))
        await self._encoder.vectors(wanted)
        first = self._random.randrange(_USERS - rows)
        users = slice(first, first + rows)
        await self._model.score(self._history[users], self._user[users], self._window[users])

    def _unmet_texts(self, count: int) -> dict[int, str]:
        """Texts with one new word each."""
        numbers = range(self._missed, self._missed + count)
        self._missed += count
        return {-1 - number: f"{number} {self._known[number % _KNOWN_TEXTS]}" for number in numbers}

    async def close(self) -> None:
        """Disconnect."""
        await self._encoder.close()
        await self._model.close()


class PlainBert:
    """BERT over the text of a user's last behaviours at every update; see benchmarks.plain_bert_repository.

    Args:
        url: Triton's gRPC address.
        bundle: Whose tokeniser it shares.
        model: Its name and version.
    """

    def __init__(self, url: str, bundle: ModelBundle, model: ModelVersion) -> None:
        self.most_rows = 16
        self._model = model
        self._connection = TritonConnection(url)
        self._tokeniser = Tokeniser(bundle.tokenizer_path, WINDOW_TOKENS, (WINDOW_TOKENS,))
        texts = product_texts(_KNOWN_TEXTS)
        drawn = random.Random(13)
        self._windows = ["; ".join(drawn.sample(texts, _WINDOW_BEHAVIOURS)) for _ in range(_USERS)]
        self._next = 0

    async def warm_up(self) -> None:
        """One full call."""
        await self.update(self.most_rows)

    async def update(self, rows: int) -> None:
        """Scores of windows, tokenised and encoded whole."""
        first = self._next
        self._next = (first + rows) % (_USERS - self.most_rows)
        tokens = self._tokeniser.batch(self._windows[first : first + rows])
        tensors = {"INPUT_IDS": tokens.ids, "ATTENTION_MASK": tokens.mask}
        await self._connection.infer(self._model, tensors, _PATIENT.deadline_seconds)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()


def product_texts(count: int) -> list[str]:
    """That many distinct texts of products, as the worker renders them."""
    texts: dict[str, None] = {}
    for record in shop_records(count * 20):
        event = decode_event(record.value, record.timestamp_ms).event
        texts.update(dict.fromkeys(rendered.text for rendered in render_event(event, 2) if rendered.text))
    return list(texts)[:count]
