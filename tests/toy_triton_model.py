"""Both models of the toy repository: the wire contract of the real ones, NumPy inside, faults on request.

Copied into the version directories by `tests.toy_repository`; runs in Triton's python stub, so it imports
nothing of the project. `toy.json` beside it gives L, D and what asks for which fault: a word's token id for
the encoder, the first user feature for the head.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args: dict[str, str]) -> None:
        self.name = args["model_name"]
        toy = json.loads(Path(__file__).with_name("toy.json").read_text())
        self.labels, self.dimensions = toy["labels"], toy["dimensions"]
        self.scale = toy["scale"]
        manifest = json.loads(Path(__file__).with_name("manifest.json").read_text())
        self.label_set = int(manifest["label_set_hash"][:15], 16)
        self.faults: dict[float, str] = {float(asked): fault for asked, fault in toy["faults"].items()}

    def execute(self, requests: list[Any]) -> list[Any]:
        answer = self._encode if self.name == "behaviour_encoder" else self._score
        return [pb.InferenceResponse(output_tensors=answer(request)) for request in requests]

    def _encode(self, request: Any) -> list[Any]:
        ids, mask = _tensor(request, "INPUT_IDS"), _tensor(request, "ATTENTION_MASK")
        fault = self._fault(ids.ravel())
        # A text's vector is the sum of its words' vectors, each a wave of its own frequency.
        phases = np.arange(1, self.dimensions + 1, dtype=np.float64)
        words = np.cos(ids[..., None] * phases * 0.7) * mask[..., None]
        vectors = words.sum(axis=1)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if fault == "nan":
            vectors[0, 0] = np.nan
        if fault == "wide":
            vectors = np.concatenate([vectors, vectors[:, :1]], axis=1)
        return [pb.Tensor("VECTOR", vectors.astype(np.float32))]

    def _score(self, request: Any) -> list[Any]:
        history, user, window = (_tensor(request, name) for name in ("HISTORY", "USER", "WINDOW"))
        fault = self._fault(user[:, 0])
        scores = 1.0 - np.exp2(-np.maximum(self.scale * history[..., 2], 0.0))
        if fault == "nan":
            scores[0, 0] = np.nan
        if fault == "wide":
            scores = np.concatenate([scores, scores[:, :1]], axis=1)
        days = np.array([1.0, 3.0, 7.0]) / 28.0
        intent = 1.0 - np.exp2(-np.maximum(user[:, 2:3], 0.0) * days)
        return [
            pb.Tensor("SCORES", scores.astype(np.float32)),
            pb.Tensor("INTENT", intent.astype(np.float32)),
            pb.Tensor("USER_VECTOR", window[:, 1].astype(np.float32)),
            pb.Tensor("LABEL_SET", np.full((len(user), 1), self.label_set + (fault == "labels"))),
        ]

    def _fault(self, asked: Any) -> str | None:
        fault = next((self.faults[float(value)] for value in asked if float(value) in self.faults), None)
        if fault == "slow":
            time.sleep(1.0)  # noqa: TID251 - a slow model is what the test asks for
        if fault == "raise":
            raise ValueError("the toy model was asked to raise")
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return fault


def _tensor(request: Any, name: str) -> Any:
    return pb.get_input_tensor_by_name(request, name).as_numpy()
