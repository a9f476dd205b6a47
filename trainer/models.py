"""The exported pair that is asked: of a run, or of a published version."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from stream.model.repository import ModelBundle, load_bundle
from trainer.contract import DIMENSIONS, ENCODER_INPUTS
from trainer.encoder import base_directory, batches_by_length, load_tokenizer, tokenize
from trainer.images import fused_texts
from trainer.parity import OnnxModel, onnx_encoder, onnx_head
from trainer.progress import Progress, silent
from trainer.published_parity import onnx_file
from trainer.rows import TextVectors
from trainer.samples import Samples
from trainer.tables import Matrix
from trainer.workspace import Workspace

_BATCH: Final = 64


class Models(NamedTuple):
    """An exported pair, and its vectors of the samples' texts and images."""

    encoder: OnnxModel
    head: OnnxModel
    vectors: TextVectors


def models_of(work: Workspace, repository: Path | None = None, progress: Progress = silent) -> Models:
    """The run's own pair, or that of a repository's newest version, which needs nothing of the run but its samples."""
    if repository is None:
        return Models(onnx_encoder(work.encoder_onnx), onnx_head(work.head_onnx), work.vectors())
    return published_models(repository, load_bundle(repository), work.samples(), progress)


def published_models(
    repository: Path, bundle: ModelBundle, samples: Samples, progress: Progress = silent
) -> Models:
    """The pair of a bundle that was loaded from the repository."""
    tokenizer = load_tokenizer(base_directory())
    encoder = onnx_encoder(onnx_file(repository, bundle.encoder))
    advance = progress("encode texts", len(samples.texts) + len(samples.labels))
    texts, names = (
        encode_texts(encoder, tokenizer, given, advance) for given in (samples.texts, samples.labels.names)
    )
    vectors = TextVectors(fused_texts(texts, samples, bundle.fusion), names)
    return Models(encoder, onnx_head(onnx_file(repository, bundle.head)), vectors)


def published_vectors(texts: Sequence[str], repository: Path) -> Matrix:
    """Unit vectors [texts, D] by the encoder of a repository's newest version."""
    encoder = onnx_encoder(onnx_file(repository, load_bundle(repository).encoder))
    return encode_texts(encoder, load_tokenizer(base_directory()), texts)


def encode_texts(
    encoder: OnnxModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    advance: Callable[[int], None] = lambda _: None,
) -> Matrix:
    """Unit vectors [texts, D] by an exported encoder, texts of like length together to save padding.

    Args:
        encoder: Asked.
        tokenizer: Its own.
        texts: Any number of them.
        advance: Told how many more are done.
    """
    vectors = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
    for rows in batches_by_length(texts, _BATCH):
        ids, mask = tokenize(tokenizer, [texts[row] for row in rows])
        named = dict(zip(ENCODER_INPUTS, (ids.numpy(), mask.numpy()), strict=True))
        vectors[rows] = encoder.run(named)["VECTOR"]
        advance(len(rows))
    return vectors
