"""Writing a model version under the next free number, and retiring the oldest ones.

A version is refused if it can't stand beside those that are there.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS
from stream.fusing import Fusion
from stream.model.repository import IMAGE_PROJECTION, versions
from trainer.card import CARD, card
from trainer.contract import BUCKETS, DIMENSIONS, ENCODER, HEAD, MAX_TOKENS
from trainer.draft import Draft
from trainer.errors import ExportError
from trainer.interests import LabelSet
from trainer.model_config import SERVED_VERSIONS, encoder_configs, head_configs, require_valid

#: The half-life that the interest update states: how fast a score fades without new behaviour.
HALF_LIFE_DAYS: Final = 28
#: Copied, not imported: it runs in Triton's environment.
_SERVING: Final = Path(__file__).with_name("triton_model.py")


@dataclass(frozen=True, slots=True)
class Version:
    """What a published version consists of, apart from what is fixed."""

    encoder_onnx: Path
    head_onnx: Path
    tokenizer: Path
    vocabulary: int
    labels: LabelSet
    #: [L, D] unit rows.
    interest_vectors: NDArray[np.float32]
    #: Sections of both manifests: data, recipe, parity, evaluation, gates.
    record: Mapping[str, Any]
    #: Section of the head's manifest.
    ad_response: Mapping[str, Any]
    #: For the next version's training, by name beside the head (``trainer.handover``).
    handover: Mapping[str, Path] = field(default_factory=dict)
    #: How its item vectors take images; None: it was trained on texts alone.
    fusion: Fusion | None = None


class Published(NamedTuple):
    """What a publication changed."""

    number: int
    sizes: dict[str, int]
    """Bytes by file below the repository."""
    removed: tuple[int, ...]
    """Versions retired for it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Which versions stay.

    Args:
        keep: So many of the newest, the new one among them; at least what Triton serves.
        pinned: Versions that score users now; the rollout names them (``interestflow model status``).
    """

    keep: int = SERVED_VERSIONS
    pinned: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.keep < SERVED_VERSIONS:
            raise ExportError(
                f"keep {self.keep} would delete the version that a rollback goes back to: keep at least {SERVED_VERSIONS}"
            )


def read_manifest(repository: Path, number: int | None = None) -> dict[str, Any]:
    """The head's manifest of a version, the newest one if no number is given.

    Raises:
        ExportError: If there is no such version.
    """
    there = _numbers(repository, HEAD)
    if not there or (number is not None and number not in there):
        raise ExportError(
            f"{repository / HEAD} has no version {number or ''}: it has {there or 'none'}; name one of them, or make "
            "one with `make model`"
        )
    path = repository / HEAD / str(number or there[-1]) / "manifest.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def newest_manifest(repository: Path) -> dict[str, Any] | None:
    """The head's manifest of the newest version, None if nothing is published there."""
    return read_manifest(repository) if _numbers(repository, HEAD) else None


def publish(repository: Path, version: Version, retention: Retention | None = None) -> Published:
    """Write both models of a version under the next free number, and retire the oldest ones.

    Raises:
        ExportError: If a pinned version would no longer be served, its tensors are not those of the versions that are
            there, or somebody else publishes; nothing is changed.
    """
    retention = retention or Retention()
    draft = Draft(repository)
    with draft.alone():
        # Of both models: an encoder without a head is left by a publication that was killed.
        number = max((0, *_numbers(repository, ENCODER), *_numbers(repository, HEAD))) + 1
        stays = set(sorted({*_numbers(repository, HEAD), number})[-retention.keep :])
        _require_served(repository, number, retention.pinned)
        manifests = _write(draft, number, version)
        sizes = draft.sizes()
        for model, manifest in manifests.items():
            _require_same_tensors(repository / model, manifest, stays - {number})
        draft.put_in_place((ENCODER, HEAD), number)
        return Published(number, sizes, _retire(draft, repository, stays))


def _write(draft: Draft, number: int, version: Version) -> dict[str, Mapping[str, Any]]:
    """Write all files of both models; their manifests."""
    labels = version.labels
    shared = {
        "version": str(number),
        "encoder_version": sha256(version.encoder_onnx.read_bytes()).hexdigest()[:16],
        "label_set_hash": labels.hash,
        "history_features": HISTORY_FEATURES,
        "user_features": USER_FEATURES,
        "window_half_lives_days": WINDOW_HALF_LIVES_DAYS,
        "max_tokens": MAX_TOKENS,
        "buckets": BUCKETS,
        **version.record,
    }
    encoder, head = draft.version(ENCODER, number), draft.version(HEAD, number)
    shutil.copyfile(version.encoder_onnx, encoder / "model.onnx")
    shutil.copyfile(version.tokenizer, encoder / "tokenizer.json")
    shutil.copyfile(version.head_onnx, head / "model.onnx")
    (head / "labels.json").write_text(_json(labels.document(HALF_LIFE_DAYS)), encoding="utf-8")
    for name, path in version.handover.items():
        shutil.copyfile(path, head / name)
    np.save(head / "interest_vectors.npy", version.interest_vectors.astype(np.float16))
    images = {} if version.fusion is None else _write_fusion(head, version.fusion)
    of_encoder = {**shared, **_encoder_tensors()}
    of_head = {**shared, **_head_tensors(len(labels)), "ad_response": version.ad_response, **images}
    (head / CARD).write_text(card(of_head), encoding="utf-8")
    counts = len(labels), len(HISTORY_FEATURES), len(USER_FEATURES), len(WINDOW_HALF_LIVES_DAYS)
    _finish(draft, encoder, of_encoder, encoder_configs(version.vocabulary))
    _finish(draft, head, of_head, head_configs(*counts))
    return {ENCODER: of_encoder, HEAD: of_head}


def _write_fusion(head: Path, fusion: Fusion) -> dict[str, Any]:
    """Write the projection, in the half precision to which it was rounded; the manifest's section."""
    np.save(head / IMAGE_PROJECTION, fusion.projection.astype(np.float16))
    return {"images": {"dimensions": fusion.dimensions, "weight": fusion.weight}}


def _finish(draft: Draft, version: Path, manifest: Mapping[str, Any], configs: Mapping[str, str]) -> None:
    """Add model.py, the configs and, last, the manifest with the hash of every file of the version."""
    model = version.parent.name
    shutil.copyfile(_SERVING, version / "model.py")
    for name, text in configs.items():
        require_valid(f"{model}/{name}", text)
    draft.write_configs(model, configs)
    files = {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(version.iterdir())}
    (version / "manifest.json").write_text(
        _json({"model": model, **manifest, "files": files}), encoding="utf-8"
    )


def _numbers(repository: Path, model: str) -> list[int]:
    return [int(name) for name in versions(repository / model)]


def _require_served(repository: Path, number: int, pinned: Collection[int]) -> None:
    """Pass if Triton, which serves the newest versions, goes on serving every pinned one."""
    there = _numbers(repository, HEAD)
    for pin in sorted(pinned):
        if pin not in there:
            raise ExportError(
                f"version {pin} is pinned, but {repository / HEAD} has {there}: see `interestflow model status`"
            )
    served = sorted({*there, number})[-SERVED_VERSIONS:]
    lost = sorted(set(pinned) - set(served))
    if lost:
        raise ExportError(
            f"version {lost[0]} scores users, but beside version {number} Triton would serve only versions {served}: "
            "promote a newer one or roll the trial back first (`interestflow model status`)"
        )


def _require_same_tensors(model: Path, manifest: Mapping[str, Any], beside: set[int]) -> None:
    """Pass if the version has the tensors of those that stay: one config.pbtxt holds for all."""
    for number in sorted(beside & {int(name) for name in versions(model)}):
        there = json.loads((model / str(number) / "manifest.json").read_text(encoding="utf-8"))
        for side in ("inputs", "outputs"):
            if there[side] != manifest[side]:
                raise ExportError(
                    f"{model.name} has other {side} than version {number}, and config.pbtxt holds for both: "
                    f"{manifest[side]} beside {there[side]}; publish into a repository of its own (--out), with a "
                    "Triton and workers of its own"
                )


def _retire(draft: Draft, repository: Path, stays: Collection[int]) -> tuple[int, ...]:
    """Remove the heads that don't stay, then the encoders that no head calls."""
    removed = [number for number in _numbers(repository, HEAD) if number not in stays]
    for number in removed:
        draft.remove(HEAD, number)
    encoders = {
        _encoder_version(repository, ENCODER, number): number for number in _numbers(repository, ENCODER)
    }
    # A head calls the newest encoder of its encoder_version.
    called = {
        encoders.get(_encoder_version(repository, HEAD, number)) for number in _numbers(repository, HEAD)
    }
    for number in _numbers(repository, ENCODER):
        if number not in called and number not in stays:
            draft.remove(ENCODER, number)
    return tuple(removed)


def _encoder_version(repository: Path, model: str, number: int) -> str:
    manifest = json.loads((repository / model / str(number) / "manifest.json").read_text(encoding="utf-8"))
    return str(manifest["encoder_version"])


def _encoder_tensors() -> dict[str, Any]:
    tokens = {"dtype": "INT32", "dims": [-1]}
    return {
        "inputs": [{"name": "INPUT_IDS", **tokens}, {"name": "ATTENTION_MASK", **tokens}],
        "outputs": [{"name": "VECTOR", "dtype": "FP32", "dims": [DIMENSIONS]}],
    }


def _head_tensors(labels: int) -> dict[str, Any]:
    def tensor(name: str, *dims: int) -> dict[str, Any]:
        return {"name": name, "dtype": "FP32", "dims": list(dims)}

    return {
        "inputs": [
            tensor("HISTORY", labels, len(HISTORY_FEATURES)),
            tensor("USER", len(USER_FEATURES)),
            tensor("WINDOW", len(WINDOW_HALF_LIVES_DAYS), DIMENSIONS),
        ],
        "outputs": [tensor("SCORES", labels), tensor("INTENT", 3), tensor("USER_VECTOR", DIMENSIONS)],
    }


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
