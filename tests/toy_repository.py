"""A small model repository with the contract of the real one, for tests of whatever reads or serves it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from stream.ads.response import ResponseModel
from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS

ENCODER: Final = "behaviour_encoder"
HEAD: Final = "interest_head"
#: A text with the word, or a user whose first feature is the number, makes the toy model behave so.
FAULTS: Final = {
    "nan": -1001.0,
    "wide": -1002.0,
    "slow": -1003.0,
    "raise": -1004.0,
    "die": -1005.0,
    "labels": -1006.0,
}

_WORDS: Final = ("milk", "bread", "cheese", "tea", "coffee", "fresh", "organic", "dairy", "bakery", "drinks")
_CATEGORIES: Final = ("Fluid Milk", "Bread", "Cheese", "Tea", "Coffee", "Eggs", "Yogurt", "Soap")

_ENCODER_CONFIG: Final = """
name: "behaviour_encoder"
backend: "python"
max_batch_size: 16
input [
  { name: "INPUT_IDS" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true },
  { name: "ATTENTION_MASK" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true }
]
output [ { name: "VECTOR" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
version_policy { latest { num_versions: 2 } }
dynamic_batching { default_queue_policy { max_queue_size: 4 } }
"""
_HEAD_CONFIG: Final = """
name: "interest_head"
backend: "python"
max_batch_size: 64
input [
  { name: "HISTORY" data_type: TYPE_FP32 dims: [ -1, 10 ] },
  { name: "USER" data_type: TYPE_FP32 dims: [ 11 ] },
  { name: "WINDOW" data_type: TYPE_FP32 dims: [ 2, -1 ] }
]
output [
  { name: "SCORES" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "INTENT" data_type: TYPE_FP32 dims: [ 3 ] },
  { name: "USER_VECTOR" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "LABEL_SET" data_type: TYPE_INT64 dims: [ 1 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
version_policy { latest { num_versions: 2 } }
dynamic_batching { }
"""


def write_toy_repository(
    repository: Path, *, labels: int = 5, dimensions: int = 384, version: str = "1", scale: float = 1.0
) -> Path:
    """Both models with one version directory each; older versions that are there stay.

    The head of another ``scale`` gives other scores: it counts each purchase so many times.
    """
    tokenizer = toy_tokenizer()
    asked = {
        ENCODER: {str(tokenizer.token_to_id(word)): word for word in FAULTS},
        HEAD: {str(number): word for word, number in FAULTS.items()},
    }
    for model, config in ((ENCODER, _ENCODER_CONFIG), (HEAD, _HEAD_CONFIG)):
        directory = repository / model / version
        directory.mkdir(parents=True)
        (repository / model / "config.pbtxt").write_text(config)
        shutil.copyfile(Path(__file__).with_name("toy_triton_model.py"), directory / "model.py")
        write_json(
            directory / "toy.json",
            {"labels": labels, "dimensions": dimensions, "faults": asked[model], "scale": scale},
        )
    tokenizer.save(str(repository / ENCODER / version / "tokenizer.json"))
    _write_labels(repository / HEAD / version, labels, dimensions)
    for model in (ENCODER, HEAD):
        write_manifest(repository / model / version)
    return repository


def toy_tokenizer() -> Tokenizer:
    """One token per known word, framed as BERT does."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *FAULTS, *_WORDS]
    tokenizer = Tokenizer(
        models.WordLevel({token: row for row, token in enumerate(tokens)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_manifest(version: Path, **changes: Any) -> None:
    """The manifest that fits the files as they are, with changes."""
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in version.iterdir()
        if path.is_file() and path.name != "manifest.json"
    }
    manifest: dict[str, Any] = {
        "model": version.parent.name,
        "version": version.name,
        "encoder_version": "toy-1",
        "label_set_hash": toy_label_set_hash(version.parents[1] / HEAD / version.name),
        "files": hashes,
        "history_features": HISTORY_FEATURES,
        "user_features": USER_FEATURES,
        "window_half_lives_days": WINDOW_HALF_LIVES_DAYS,
        "max_tokens": 64,
        "buckets": [16, 32, 64],
        "ad_response": ResponseModel([1.0, 0.5, 0.2, 0.1, 0.0], -3.0).manifest_section(),
        "recipe": {"seed": 7},
    }
    write_json(version / "manifest.json", manifest | changes)


def add_projection(head_version: Path, projection: NDArray[Any], weight: float) -> None:
    """Make a version, the toy's or a real one, take images: ``projection`` [D, I]."""
    path = head_version / "image_projection.npy"
    np.save(path, projection.astype(np.float16))
    manifest = json.loads((head_version / "manifest.json").read_text())
    manifest["images"] = {"dimensions": projection.shape[1], "weight": weight}
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    write_json(head_version / "manifest.json", manifest)


def toy_label_set_hash(head_version: Path) -> str:
    """As labels.json says."""
    return str(json.loads((head_version / "labels.json").read_text())["label_set_hash"])


def write_json(path: Path, content: Any) -> None:
    """The content as a JSON file."""
    path.write_text(json.dumps(content, indent=1))


def _write_labels(version: Path, labels: int, dimensions: int) -> None:
    names = [_CATEGORIES[row] if row < len(_CATEGORIES) else f"Aisle {row}" for row in range(labels)]
    ids = [name.lower().replace(" ", "-") for name in names]
    content = {
        "taxonomy": "toy.aisles",
        "interest_level": 2,
        "half_life_days": 28,
        "label_set_hash": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        "interests": [
            {"id": slug, "name": name, "category": name} for slug, name in zip(ids, names, strict=True)
        ],
    }
    write_json(version / "labels.json", content)
    vectors = np.random.default_rng(5).normal(size=(labels, dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(version / "interest_vectors.npy", vectors.astype(np.float16))
