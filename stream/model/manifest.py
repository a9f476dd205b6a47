"""The files that describe a model version: ``manifest.json`` of both models and ``labels.json`` of the head."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream.errors import ModelRepositoryError
from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS

MANIFEST: Final = "manifest.json"
LABELS: Final = "labels.json"
_RESTORE: Final = "restore the version from git, or write it again with `make model`"

# Unknown keys are the trainer's (data, recipe, evaluation, parity); the worker needs the ones below.
_READ: Final = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
_Name = Annotated[str, Field(min_length=1, max_length=256)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What both models say of themselves."""

    model_config = _READ

    model: _Name
    version: _Name
    encoder_version: _Name
    files: Mapping[_Name, _Sha256]


class EncoderManifest(Manifest):
    """What the encoder adds."""

    max_tokens: Annotated[int, Field(ge=2, le=8192)]
    buckets: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _hold_the_longest_text(self) -> Self:
        if list(self.buckets) != sorted(set(self.buckets)) or self.buckets[-1] < self.max_tokens:
            raise ValueError(f"buckets {self.buckets} must rise and reach max_tokens {self.max_tokens}")
        return self


class ImagesManifest(BaseModel):
    """How a version takes images; its projection is a file of the head."""

    model_config = _READ

    dimensions: Annotated[int, Field(ge=1, le=65_536)]
    weight: Annotated[float, Field(ge=0.0)]


class HeadManifest(Manifest):
    """What the head adds."""

    label_set_hash: _Sha256
    history_features: tuple[str, ...]
    user_features: tuple[str, ...]
    window_half_lives_days: tuple[float, ...]
    ad_response: Mapping[str, Any] = Field(default_factory=dict)
    #: None: it was trained on texts alone.
    images: ImagesManifest | None = None


class Label(BaseModel):
    """One interest."""

    model_config = _READ

    id: _Name
    name: _Name
    category: _Name


class Labels(BaseModel):
    """The label set, in the row order of the scores."""

    model_config = _READ

    taxonomy: _Name
    interest_level: Annotated[int, Field(ge=1, le=5)]
    half_life_days: Annotated[float, Field(gt=0.0)] | None = None
    label_set_hash: _Sha256
    interests: Annotated[tuple[Label, ...], Field(min_length=1)]


_Read = TypeVar("_Read", bound=BaseModel)


def read_json(path: Path, kind: type[_Read]) -> _Read:
    """The file as that model.

    Raises:
        ModelRepositoryError: It is missing, or not of the form.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelRepositoryError(f"{path} can't be read ({error.strerror}): {_RESTORE}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
            for item in error.errors()
        )
        raise ModelRepositoryError(f"{path} is not as it should be: {problems}: {_RESTORE}") from error


def label_set_hash(labels: Labels) -> str:
    """SHA-256 over the ids in row order: two label sets with one hash mean the same rows."""
    return hashlib.sha256("\n".join(label.id for label in labels.interests).encode()).hexdigest()


def require_place(manifest: Manifest, version: Path) -> None:
    """Pass if the manifest is that of its directory ``.../MODEL/VERSION``."""
    if (manifest.model, manifest.version) != (version.parent.name, version.name):
        raise ModelRepositoryError(
            f"{version / MANIFEST} is of {manifest.model} version {manifest.version}, not of "
            f"{version.parent.name} version {version.name}: the directory was copied or renamed; {_RESTORE}"
        )


def require_files(manifest: Manifest, version: Path, needed: frozenset[str]) -> None:
    """Pass if every file of the manifest is there, unaltered, and the needed ones are among them."""
    unlisted = sorted(needed - manifest.files.keys())
    if unlisted:
        raise ModelRepositoryError(f"{version / MANIFEST} lists no hash of {', '.join(unlisted)}: {_RESTORE}")
    for name, expected in manifest.files.items():
        path = version / name
        if Path(name).name != name or not path.is_file():
            raise ModelRepositoryError(f"{path}, which its manifest lists, is not there: {_RESTORE}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ModelRepositoryError(
                f"{path} has SHA-256 {found[:12]}…, its manifest says {expected[:12]}…: it was altered "
                f"or is incomplete; {_RESTORE}"
            )


def require_features(manifest: HeadManifest) -> None:
    """Pass if the head was trained on the features that this release computes, in the same order."""
    ours: dict[str, tuple[object, ...]] = {
        "history_features": HISTORY_FEATURES,
        "user_features": USER_FEATURES,
    }
    for name, expected in ours.items():
        found = getattr(manifest, name)
        if found != expected:
            raise _other_features(name, found, expected)
    half_lives = manifest.window_half_lives_days
    same = len(half_lives) == len(WINDOW_HALF_LIVES_DAYS) and all(
        math.isclose(one, other) for one, other in zip(half_lives, WINDOW_HALF_LIVES_DAYS, strict=True)
    )
    if not same:
        raise _other_features("window_half_lives_days", half_lives, WINDOW_HALF_LIVES_DAYS)


def _other_features(
    name: str, found: tuple[object, ...], expected: tuple[object, ...]
) -> ModelRepositoryError:
    return ModelRepositoryError(
        f"interest_head was trained on {name} {', '.join(map(str, found))}; this release computes "
        f"{', '.join(map(str, expected))}: train it again with this release (`make model`), "
        "or run the release that made it"
    )


def require_label_set(manifest: HeadManifest, labels: Labels, version: Path) -> None:
    """Pass if the labels are those that the head was trained with."""
    found = label_set_hash(labels)
    if not found == labels.label_set_hash == manifest.label_set_hash:
        raise ModelRepositoryError(
            f"the ids of {version / LABELS} have label_set_hash {found[:12]}…, the file says "
            f"{labels.label_set_hash[:12]}… and the manifest {manifest.label_set_hash[:12]}…: "
            f"scores would be read under wrong names; {_RESTORE}"
        )
