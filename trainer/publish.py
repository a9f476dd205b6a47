"""Writing a model version: all files first, then one rename per model, so that no server ever sees half of one.

A version is refused unless its parity was measured within tolerance and it fits the size that a git repository bears.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS
from trainer.contract import BUCKETS, DIMENSIONS, ENCODER, HEAD, MAX_TOKENS
from trainer.errors import ExportError
from trainer.interests import LabelSet
from trainer.model_config import encoder_configs, head_configs, require_valid

#: Both models with all their files.
MAX_BYTES: Final = 25_000_000
#: The half-life that the interest update states: how fast a score fades without new behaviour.
HALF_LIFE_DAYS: Final = 28
#: Copied, not imported: it runs in Triton's environment.
_SERVING: Final = Path(__file__).with_name("triton_model.py")


@dataclass(frozen=True, slots=True)
class Version:
    """What a published version consists of, apart from what is fixed."""

    number: int
    encoder_onnx: Path
    head_onnx: Path
    tokenizer: Path
    vocabulary: int
    labels: LabelSet
    #: [L, D] unit rows.
    interest_vectors: NDArray[np.float32]
    #: Sections of both manifests: data, recipe, parity, evaluation.
    record: Mapping[str, Any]
    #: Section of the head's manifest.
    ad_response: Mapping[str, Any]


def publish(repository: Path, version: Version) -> dict[str, int]:
    """Write both models of a version; bytes by file.

    Raises:
        ExportError: If all files together are larger than ``MAX_BYTES``.
    """
    encoder_version = sha256(version.encoder_onnx.read_bytes()).hexdigest()[:16]
    labels = version.labels
    shared = {
        "version": str(version.number),
        "encoder_version": encoder_version,
        "label_set_hash": labels.hash,
        "history_features": HISTORY_FEATURES,
        "user_features": USER_FEATURES,
        "window_half_lives_days": WINDOW_HALF_LIVES_DAYS,
        "max_tokens": MAX_TOKENS,
        "buckets": BUCKETS,
        **version.record,
    }
    encoder = _Draft(repository, ENCODER, version.number)
    encoder.copy(version.encoder_onnx, "model.onnx")
    encoder.copy(version.tokenizer, "tokenizer.json")
    encoder.finish({**shared, **_encoder_tensors()}, encoder_configs(version.vocabulary))
    head = _Draft(repository, HEAD, version.number)
    head.copy(version.head_onnx, "model.onnx")
    head.write("labels.json", _json(labels.document(HALF_LIFE_DAYS)))
    np.save(head.path / "interest_vectors.npy", version.interest_vectors.astype(np.float16))
    sizes = len(labels), len(HISTORY_FEATURES), len(USER_FEATURES), len(WINDOW_HALF_LIVES_DAYS)
    head.finish(
        {**shared, **_head_tensors(len(labels)), "ad_response": version.ad_response}, head_configs(*sizes)
    )
    written = encoder.sizes() | head.sizes()
    total = sum(written.values())
    if total > MAX_BYTES:
        encoder.discard()
        head.discard()
        raise ExportError(f"the version has {total} bytes, at most {MAX_BYTES} are shipped: make it smaller")
    encoder.put_in_place()
    head.put_in_place()
    return written


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


class _Draft:
    """A model directory in the making, beside its place."""

    def __init__(self, repository: Path, model: str, number: int) -> None:
        self.model = model
        self.number = number
        self._target = repository / model
        # Outside the repository directory's own names: Triton takes every directory in it for a model.
        self._root = repository.absolute().parent / f".{repository.name}-{model}-{os.getpid()}"
        shutil.rmtree(self._root, ignore_errors=True)
        self.path = self._root / str(number)
        self.path.mkdir(parents=True)

    def copy(self, source: Path, name: str) -> None:
        shutil.copyfile(source, self.path / name)

    def write(self, name: str, text: str) -> None:
        path = self._root / name if "pbtxt" in name else self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def finish(self, manifest: Mapping[str, Any], configs: Mapping[str, str]) -> None:
        """Add model.py, the configs and, last, the manifest with the hash of every file of the version."""
        self.copy(_SERVING, "model.py")
        for name, text in configs.items():
            require_valid(f"{self.model}/{name}", text)
            self.write(name, text)
        files = {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(self.path.iterdir())}
        self.write("manifest.json", _json({"model": self.model, **manifest, "files": files}))

    def sizes(self) -> dict[str, int]:
        """Bytes by file."""
        return {
            f"{self.model}/{path.relative_to(self._root)}": path.stat().st_size
            for path in sorted(self._root.rglob("*"))
            if path.is_file()
        }

    def discard(self) -> None:
        shutil.rmtree(self._root)

    def put_in_place(self) -> None:
        """Move the version in by one rename; the same number is replaced, others stay."""
        (self._target / "configs").mkdir(parents=True, exist_ok=True)
        version = self._target / str(self.number)
        retired = self._root / "retired"
        if version.exists():
            version.rename(retired)
        self.path.rename(version)
        for name in ("config.pbtxt", "configs/gpu.pbtxt"):
            (self._root / name).replace(self._target / name)
        shutil.rmtree(self._root)
