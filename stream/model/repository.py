"""What the worker takes from the model repository that Triton serves: names, labels, vectors, tokeniser.

A version is used only if all that the worker relies on fits: encoder and head are a pair, the features are
the ones computed here, the labels are those of the training, and no file was altered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.errors import ModelRepositoryError
from stream.fusing import Fusion
from stream.model.manifest import (
    LABELS,
    MANIFEST,
    EncoderManifest,
    HeadManifest,
    ImagesManifest,
    Labels,
    read_json,
    require_features,
    require_files,
    require_label_set,
    require_place,
)
from stream.model.port import Floats
from stream.render import category_hash

ENCODER: Final = "behaviour_encoder"
HEAD: Final = "interest_head"
_TOKENIZER: Final = "tokenizer.json"
_INTEREST_VECTORS: Final = "interest_vectors.npy"
IMAGE_PROJECTION: Final = "image_projection.npy"
#: float16 keeps a unit vector's length to about 3e-4.
_LENGTH_TOLERANCE: Final = 0.01


class ModelVersion(NamedTuple):
    """A model of the repository; the version is pinned in every call."""

    name: str
    version: str


class Interest(NamedTuple):
    """One row of the scores."""

    id: str
    name: str
    category_hash: int
    """Key of its category in the users' profiles."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelBundle:
    """A checked pair of model versions; L interests, D dimensions."""

    encoder: ModelVersion
    head: ModelVersion
    encoder_version: str
    """Key of every text vector: vectors of different encoder versions can't be compared."""
    label_set_hash: str
    taxonomy: str
    interest_level: int
    """Which item category is the interest; the worker's window setting must be the same."""
    half_life_days: float | None
    interests: tuple[Interest, ...]
    row_by_category: Mapping[int, int]
    interest_vectors: Floats
    """[L, D], unit vectors of the interests' names, read-only."""
    tokenizer_path: Path
    max_tokens: int
    buckets: tuple[int, ...]
    """Lengths in tokens that texts are padded to, rising."""
    ad_response: Mapping[str, Any]
    """Features, weights and bias of the ad response model; empty if the version has none."""
    fusion: Fusion | None = None
    """How item vectors take images; None if the version was trained on texts alone."""

    @property
    def labels(self) -> int:
        """L."""
        return len(self.interests)

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.interest_vectors.shape[1])


def load_bundle(repository: Path, version: str | None = None) -> ModelBundle:
    """A version of the head with the encoder that it was trained with, checked.

    Reads every file once (some 25 MB) to check its hash.

    Args:
        repository: The model repository.
        version: Of the head; the newest if None.

    Raises:
        ModelRepositoryError: Something is missing, altered or does not fit together.
    """
    head_at = newest_version(repository / HEAD) if version is None else _version(repository / HEAD, version)
    head = read_json(head_at / MANIFEST, HeadManifest)
    require_place(head, head_at)
    encoder_at, encoder = _partner(repository / ENCODER, head)
    require_place(encoder, encoder_at)
    require_features(head)
    require_files(encoder, encoder_at, frozenset({_TOKENIZER}))
    needed = {LABELS, _INTEREST_VECTORS, *([IMAGE_PROJECTION] if head.images else [])}
    require_files(head, head_at, frozenset(needed))
    labels = read_json(head_at / LABELS, Labels)
    require_label_set(head, labels, head_at)
    interests = tuple(
        Interest(label.id, label.name, category_hash(label.category)) for label in labels.interests
    )
    interest_vectors = _interest_vectors(head_at / _INTEREST_VECTORS, len(interests))
    return ModelBundle(
        encoder=ModelVersion(ENCODER, encoder_at.name),
        head=ModelVersion(HEAD, head_at.name),
        encoder_version=encoder.encoder_version,
        label_set_hash=labels.label_set_hash,
        taxonomy=labels.taxonomy,
        interest_level=labels.interest_level,
        half_life_days=labels.half_life_days,
        interests=interests,
        row_by_category=_rows(interests, head_at / LABELS),
        interest_vectors=interest_vectors,
        tokenizer_path=encoder_at / _TOKENIZER,
        max_tokens=encoder.max_tokens,
        buckets=encoder.buckets,
        ad_response=MappingProxyType(dict(head.ad_response)),
        fusion=_fusion(head_at / IMAGE_PROJECTION, head.images, interest_vectors.shape[1]),
    )


def newest_version(model: Path) -> Path:
    """The version directory with the highest number, which Triton's policy ``latest 1`` serves too.

    Raises:
        ModelRepositoryError: There is none.
    """
    found = versions(model)
    if not found:
        raise ModelRepositoryError(
            f"{model} has no version directory such as {model / '1'}: set INTERESTFLOW_MODEL__REPOSITORY to the "
            "model repository that Triton serves, or make one with `make model`"
        )
    return model / found[-1]


def versions(model: Path) -> list[str]:
    """The version directories of a model, lowest first."""
    # Triton also ignores names with a leading zero.
    found = [path.name for path in model.glob("[1-9]*") if path.name.isdecimal() and path.is_dir()]
    return sorted(found, key=int)


def _version(model: Path, version: str) -> Path:
    found = versions(model)
    if version not in found:
        raise ModelRepositoryError(
            f"{model} has no version {version} (it has {', '.join(found) or 'none'}): deploy that version to the "
            "workers and to Triton first, or name one that is there"
        )
    return model / version


def _partner(model: Path, head: HeadManifest) -> tuple[Path, EncoderManifest]:
    """The newest encoder that the head was trained with: several heads may share one."""
    newest = read_json(newest_version(model) / MANIFEST, EncoderManifest)
    for version in reversed(versions(model)):
        at = model / version
        encoder = read_json(at / MANIFEST, EncoderManifest)
        if encoder.encoder_version == head.encoder_version:
            return at, encoder
    raise ModelRepositoryError(
        f"{ENCODER} version {newest.version} is encoder_version {newest.encoder_version}, but {HEAD} version "
        f"{head.version} was trained on {head.encoder_version}: they are no pair; add the missing partner, or "
        "remove the version directory that has none"
    )


def _rows(interests: tuple[Interest, ...], path: Path) -> Mapping[int, int]:
    rows: dict[int, int] = {}
    for row, interest in enumerate(interests):
        other = rows.setdefault(interest.category_hash, row)
        if other != row:
            raise ModelRepositoryError(
                f"interests {interests[other].id} and {interest.id} of {path} are one category: a behaviour would "
                "count for only one of them; merge them and train again"
            )
    return MappingProxyType(rows)


def _array(path: Path) -> NDArray[Any]:
    try:
        stored: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelRepositoryError(
            f"{path} is no plain NumPy array ({error}): write the version again with `make model`"
        ) from error
    return stored


def _fusion(path: Path, said: ImagesManifest | None, dimensions: int) -> Fusion | None:
    if said is None:
        return None
    stored = _array(path)
    shape = dimensions, said.dimensions
    if stored.shape != shape or stored.dtype.kind != "f" or not np.isfinite(stored).all():
        raise ModelRepositoryError(
            f"{path} holds {stored.dtype} {list(stored.shape)}; it must be finite float16 {list(shape)}: write the version "
            "again with `interestflow-trainer publish`"
        )
    projection: Floats = stored.astype(np.float32)
    projection.setflags(write=False)
    return Fusion(projection, said.weight)


def _interest_vectors(path: Path, labels: int) -> Floats:
    stored = _array(path)
    if stored.ndim != 2 or stored.shape[0] != labels or stored.dtype.kind != "f":
        raise ModelRepositoryError(
            f"{path} holds {stored.dtype} {list(stored.shape)}, {LABELS} has {labels} interests: "
            f"it must be float16 [{labels}, D]; write the version again with `make model`"
        )
    vectors: Floats = stored.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    # Written so that NaN does not pass.
    if not np.all(np.abs(lengths - 1.0) <= _LENGTH_TOLERANCE):
        row = int(np.argmax(~(np.abs(lengths - 1.0) <= _LENGTH_TOLERANCE)))
        raise ModelRepositoryError(
            f"row {row} of {path} has length {lengths[row]:.4g}, a unit vector has 1: "
            "write the version again with `make model`"
        )
    vectors.setflags(write=False)
    return vectors
