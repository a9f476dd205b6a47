"""Where the stages of a run leave their results for one another, and how these are written and read."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from trainer.errors import TrainerError
from trainer.figures import numbers_only
from trainer.head import HeadShape, InterestHead
from trainer.rows import TextVectors
from trainer.samples import Samples
from trainer.tables import Tables


class Workspace:
    """The files of one run below one directory.

    Args:
        directory: Made when something is written.
        samples_directory: Where the samples lie if they are another run's.
        fit_share: Learn from this share of the households only (``trainer.samples``).
    """

    def __init__(
        self, directory: Path, samples_directory: Path | None = None, fit_share: float = 1.0
    ) -> None:
        self.directory = directory
        self.journey_archive = directory / "events"
        self.samples_directory = samples_directory or directory / "samples"
        self._fit_share = fit_share
        self.encoder_weights = directory / "encoder.safetensors"
        self.encoder_checkpoint = directory / "encoder.checkpoint"
        self.encoder_onnx = directory / "encoder.onnx"
        self.head_onnx = directory / "head.onnx"
        self.rivals_directory = directory / "rivals"
        self._vectors = directory / "vectors.npz"
        self._tables = directory / "tables.npz"
        self._head = directory / "head.safetensors"

    def samples(self) -> Samples:
        """The samples.

        Raises:
            TrainerError: If there are none yet.
        """
        self._require(self.samples_directory / "samples.json", "samples")
        return Samples(self.samples_directory, self._fit_share)

    def save_vectors(self, vectors: TextVectors) -> None:
        """Keep the text and name vectors of the trained encoder."""
        np.savez(self._vectors, **vectors._asdict())

    def vectors(self) -> TextVectors:
        """The text and name vectors."""
        self._require(self._vectors, "train")
        with np.load(self._vectors) as arrays:
            return TextVectors(arrays["texts"], arrays["names"])

    def save_head(self, head: InterestHead, tables: Tables) -> None:
        """Keep the trained head with the tables it was made with."""
        arrays: dict[str, Any] = {**tables.arrays()}
        np.savez(self._tables, **arrays)
        save_file({name: tensor.contiguous() for name, tensor in head.state_dict().items()}, self._head)

    def head(self, shape: HeadShape) -> InterestHead:
        """The trained head."""
        self._require(self._head, "train")
        with np.load(self._tables) as arrays:
            tables = Tables(**{field.name: arrays[field.name] for field in fields(Tables)})
        head = InterestHead(tables, self.vectors().names, shape)
        head.load_state_dict(load_file(self._head))
        head.eval()
        return head

    def save_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Keep a stage's figures as ``NAME.json``."""
        write_json(self.directory / f"{name}.json", document)

    def json(self, name: str) -> dict[str, Any]:
        """A stage's figures."""
        self._require(self.directory / f"{name}.json", name)
        document: dict[str, Any] = json.loads((self.directory / f"{name}.json").read_text(encoding="utf-8"))
        return document

    def has_json(self, name: str) -> bool:
        """Whether a stage left figures."""
        return (self.directory / f"{name}.json").exists()

    def onnx_sha256(self) -> dict[str, str]:
        """Hashes of both exported models, by file name.

        Raises:
            TrainerError: If they are not exported yet.
        """
        for path in (self.encoder_onnx, self.head_onnx):
            self._require(path, "export")
        return {
            path.name: sha256(path.read_bytes()).hexdigest() for path in (self.encoder_onnx, self.head_onnx)
        }

    def _require(self, path: Path, stage: str) -> None:
        if not path.exists():
            raise TrainerError(
                f"{path} is missing; run `interestflow-trainer {stage} --work {self.directory}` first, "
                "or `interestflow-trainer make`, which runs every stage"
            )


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all; a figure that is no number becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(
        json.dumps(numbers_only(document), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    draft.replace(path)


def make_repeatable(threads: int) -> None:
    """One seed then gives one result, on the same machine and libraries."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
