"""Whether PyTorch, ONNX Runtime and Triton say the same of the same inputs; a version that they disagree on is refused.

The PyTorch side has the rounded weights that are shipped, so the gates measure the runtimes alone; what rounding
itself changes is reported beside them as drift.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from trainer.contract import ENCODER_INPUTS, ENCODER_OUTPUTS, HEAD_INPUTS, HEAD_OUTPUTS
from trainer.encoder import BehaviourEncoder
from trainer.errors import ParityError
from trainer.head import InterestHead

Arrays = Mapping[str, NDArray[Any]]

#: Largest difference of a component of a unit vector, and of a probability.
VECTOR_TOLERANCE: Final = 1e-4
SCORE_TOLERANCE: Final = 1e-4
#: Share of top-10 interests named by both.
MIN_TOP10_AGREEMENT: Final = 0.999
#: Probabilities this close are equal, and may change places: a head that learnt little has many of them.
_EQUAL: Final = 1e-5
_DEPTH: Final = 10


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How far two runtimes are apart; agreement is None where nothing is ranked."""

    vectors: float
    scores: float
    top10_agreement: float | None


class OnnxModel:
    """One ONNX file in ONNX Runtime on one thread, with weights expanded at load as the served model has them."""

    def __init__(self, path: Path, outputs: tuple[str, ...]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._outputs = outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        found = self._session.run(list(self._outputs), dict(inputs))
        return dict(zip(self._outputs, found, strict=True))


def onnx_encoder(path: Path) -> OnnxModel:
    """The exported encoder."""
    return OnnxModel(path, ENCODER_OUTPUTS)


def onnx_head(path: Path) -> OnnxModel:
    """The exported head."""
    return OnnxModel(path, HEAD_OUTPUTS)


def torch_encoder_outputs(encoder: BehaviourEncoder, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """What PyTorch says of token ids and masks."""
    with torch.no_grad():
        vectors = encoder.eval()(*(torch.from_numpy(inputs[name]) for name in ENCODER_INPUTS))
    return {ENCODER_OUTPUTS[0]: vectors.numpy()}


def torch_head_outputs(head: InterestHead, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """What PyTorch says of raw features."""
    with torch.no_grad():
        outputs = head.eval()(*(torch.from_numpy(inputs[name]) for name in HEAD_INPUTS))
    return {name: output.numpy() for name, output in zip(HEAD_OUTPUTS, outputs, strict=True)}


def compare(one: Arrays, other: Arrays) -> Disagreement:
    """The largest differences between two runtimes' outputs of one model.

    Raises:
        ParityError: If an output has another shape or is not finite.
    """
    for name, array in one.items():
        theirs = other[name]
        if array.shape != theirs.shape or not (np.isfinite(array).all() and np.isfinite(theirs).all()):
            raise ParityError(
                f"{name} has shape {array.shape} in one runtime and {theirs.shape} in the other, or values that "
                "are not finite; look at the exported graph before publishing"
            )
    vectors = max(_gap(one, other, name) for name in ("VECTOR", "USER_VECTOR"))
    scores = max(_gap(one, other, name) for name in ("SCORES", "INTENT"))
    agreement = top10_agreement(one["SCORES"], other["SCORES"]) if "SCORES" in one else None
    return Disagreement(vectors, scores, agreement)


def top10_agreement(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean share of the ten highest rows of the other that are among this one's ten, or equal to its tenth, over users."""
    tenth = -np.sort(-one, axis=1)[:, :_DEPTH][:, -1:]
    theirs = np.argsort(-other, axis=1, kind="stable")[:, :_DEPTH]
    return float(np.mean(np.take_along_axis(one, theirs, axis=1) >= tenth - _EQUAL))


def tolerance() -> dict[str, float]:
    """What ``require_parity`` lets pass, as the manifest has it."""
    return {"vectors": VECTOR_TOLERANCE, "scores": SCORE_TOLERANCE, "top10": MIN_TOP10_AGREEMENT}


def require_parity(found: Disagreement, what: str) -> Disagreement:
    """Pass a disagreement within tolerance.

    Raises:
        ParityError: If it is above it.
    """
    agrees = found.top10_agreement is None or found.top10_agreement >= MIN_TOP10_AGREEMENT
    if found.vectors <= VECTOR_TOLERANCE and found.scores <= SCORE_TOLERANCE and agrees:
        return found
    raise ParityError(
        f"{what} disagree: vectors by {found.vectors:.2g} (at most {VECTOR_TOLERANCE:g}), scores by "
        f"{found.scores:.2g} (at most {SCORE_TOLERANCE:g}), top-10 agreement {found.top10_agreement} "
        f"(at least {MIN_TOP10_AGREEMENT}); this version is not published: look at the export"
    )


def _gap(one: Arrays, other: Arrays, name: str) -> float:
    return float(np.abs(one[name] - other[name]).max()) if name in one else 0.0
