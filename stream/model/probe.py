"""Whether the model answers, shown by asking it: Triton calls a model ready whose python process is dead."""

from typing import Final

import numpy as np

from stream.errors import ModelUnavailableError
from stream.features import WINDOW_HALF_LIVES_DAYS, history_features, user_features
from stream.model.port import ModelPort
from stream.state import UserState

_TEXT: Final = "organic whole milk, dairy"


async def probe(model: ModelPort, labels: int) -> ModelUnavailableError | None:
    """None if the model encodes a text and scores a user of whom nothing is known, else why it doesn't.

    Args:
        model: Who is asked; both calls count like any other.
        labels: L of its label set.
    """
    nobody = UserState()
    try:
        vectors = await model.encode([_TEXT])
        await model.score(
            history_features(nobody, {}, labels, now_ms=0)[np.newaxis],
            user_features(nobody, now_ms=0)[np.newaxis],
            np.zeros((1, len(WINDOW_HALF_LIVES_DAYS), vectors.shape[1]), dtype=np.float32),
        )
    except ModelUnavailableError as error:
        return error
    return None
