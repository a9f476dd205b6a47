"""Whether a Triton says of a published version what ONNX Runtime says, on inputs made from the version itself.

It needs no run and no data set: the texts are the interests' names, the users are made.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES, WINDOW_HALF_LIVES_DAYS
from stream.model.repository import ModelBundle, ModelVersion, load_bundle
from stream.model.tokens import Tokeniser
from trainer.contract import DIMENSIONS, ENCODER, ENCODER_INPUTS, HEAD
from trainer.parity import Disagreement, compare, onnx_encoder, onnx_head, tolerance
from trainer.probe import Probe, worst
from trainer.release import triton_parity

_ROWS: Final = 16
_USER_REQUESTS: Final = 16
_SEED: Final = 0


def published_parity(repository: Path, stub_python: Path) -> dict[str, Any]:
    """How far the newest version on a real Triton is from ONNX Runtime.

    Raises:
        ParityError: If fp32 differs by more than the tolerance.
        ModelRepositoryError: If the version is not whole.
    """
    bundle = load_bundle(repository)
    onnx = {
        ENCODER: onnx_encoder(onnx_file(repository, bundle.encoder)),
        HEAD: onnx_head(onnx_file(repository, bundle.head)),
    }
    probe = Probe(list(probe_texts(bundle)), list(_users(bundle.labels)))
    found = triton_parity(onnx, repository, stub_python, probe)
    return {"version": bundle.head.version, "tolerance": tolerance(), **found}


def half_parity(repository: Path, half: Path) -> Disagreement:
    """How far the fp16 copy of the newest version's encoder is from it, both in ONNX Runtime on a CPU."""
    bundle = load_bundle(repository)
    exact, rounded = onnx_encoder(onnx_file(repository, bundle.encoder)), onnx_encoder(half)
    return worst([compare(exact.run(inputs), rounded.run(inputs)) for inputs in probe_texts(bundle)])


def probe_texts(bundle: ModelBundle) -> Iterator[dict[str, NDArray[Any]]]:
    """Names of interests, alone and by four, so that several buckets are asked."""
    tokeniser = Tokeniser(bundle.tokenizer_path, bundle.max_tokens, bundle.buckets)
    names = [interest.name for interest in bundle.interests]
    joined = [", ".join(names[start : start + 4]) for start in range(0, len(names), 4)]
    for texts in (names, joined):
        for start in range(0, len(texts), _ROWS):
            yield dict(zip(ENCODER_INPUTS, tokeniser.batch(texts[start : start + _ROWS]), strict=True))


def _users(labels: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Users who bought about every eighth interest, and in each request one of whom nothing is known."""
    rng = np.random.default_rng(_SEED)
    purchases, since = HISTORY_FEATURES.index("purchases"), HISTORY_FEATURES.index("days_since_purchase")
    for _ in range(_USER_REQUESTS):
        history = np.zeros((_ROWS, labels, len(HISTORY_FEATURES)), np.float32)
        history[..., since:] = NEVER_DAYS
        bought = rng.random((_ROWS, labels)) < 1 / 8
        bought[0] = False
        count = int(bought.sum())
        history[..., -1] = 50.0  # the ratio of those who never bought
        history[bought, :purchases] = np.sort(rng.exponential(2.0, (count, purchases)), axis=1)
        history[bought, purchases] = rng.integers(1, 20, count)
        history[bought, since:] = rng.uniform(0.0, 60.0, (count, len(HISTORY_FEATURES) - since))
        user = rng.uniform(0.0, 30.0, (_ROWS, len(USER_FEATURES))).astype(np.float32)
        window = rng.normal(size=(_ROWS, len(WINDOW_HALF_LIVES_DAYS), DIMENSIONS)).astype(np.float32)
        window /= np.linalg.norm(window, axis=-1, keepdims=True)
        user[0] = window[0] = 0.0
        yield {"HISTORY": history, "USER": user, "WINDOW": window}


def onnx_file(repository: Path, model: ModelVersion) -> Path:
    """Where a version's ONNX file is."""
    return repository / model.name / model.version / "model.onnx"
