"""The encoder in OpenVINO's own format (IR), for a Triton that runs it with its OpenVINO backend on a CPU.

Weights stay int8 in the file and are expanded at load. Activations must stay in float, as in every other runtime here:
OpenVINO quantises them by itself where weights are int8, and Triton's backend has no setting for it, so the file says
that it must not. Nor has the backend a setting for fp32: on a CPU with bf16 OpenVINO computes in bf16, which moves
vectors a little and the head's counts far too much. So the encoder is converted and the head stays what it is.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray

from stream.model.repository import load_bundle
from trainer.contract import ENCODER, ENCODER_OUTPUTS
from trainer.errors import ParityError
from trainer.model_config import openvino_config, require_valid
from trainer.parity import Arrays, Disagreement, OnnxModel, compare, onnx_encoder, require_parity, tolerance
from trainer.probe import worst
from trainer.published_parity import onnx_file, probe_texts

#: Files below the encoder's directory and its version's.
CONFIG: Final = "configs/openvino.pbtxt"
NETWORK: Final = "model.xml"
WEIGHTS: Final = "model.bin"
FP32: Final = "fp32"
#: As the CPU has it: bf16 where it can.
USUAL: Final = "usual"
#: Largest difference of a component of a unit vector that bf16 may make (it has 8 bits; a component is .04 on average),
#: and how many of the ten interests nearest to a text must be the same.
USUAL_TOLERANCE: Final = 5e-3
USUAL_TOP10: Final = 0.95
_NO_QUANTISED_ACTIVATIONS: Final = ("runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE")


class OpenVinoModel:
    """One IR or ONNX file in OpenVINO on one thread of a CPU.

    Args:
        path: The .xml with its .bin beside it, or the .onnx.
        outputs: Wanted names.
        precision: ``FP32``, or ``USUAL`` for what the CPU does if nothing is said.
    """

    def __init__(self, path: Path, outputs: Sequence[str], precision: str) -> None:
        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": False,
        }
        if precision == FP32:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        self._compiled = openvino.Core().compile_model(str(path), "CPU", settings)
        self._request = self._compiled.create_infer_request()
        self._outputs = tuple(outputs)

    @property
    def precision(self) -> str:
        """In which type it computes, in OpenVINO's words."""
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())

    @property
    def quantises_activations(self) -> bool:
        """Whether activations are rounded to int8 where weights are."""
        return str(self._compiled.get_property(_NO_QUANTISED_ACTIVATIONS[1])) != "0"

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        results = self._request.infer(dict(inputs))
        return {name: np.array(results[name]) for name in self._outputs}


def save_ir(source: Path, target: Path) -> None:
    """Write an exported ONNX file as IR: ``target`` is the .xml, its weights go beside it as .bin."""
    model = openvino.Core().read_model(str(source))
    model.set_rt_info("0", list(_NO_QUANTISED_ACTIVATIONS))
    target.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, str(target), compress_to_fp16=False)


def write_openvino(repository: Path, out: Path) -> dict[str, Any]:
    """Convert the newest version's encoder, hold it against ONNX Runtime and write the config that serves it; figures.

    Args:
        repository: Has the version.
        out: Gets the files where they belong in a repository; the config last.

    Raises:
        ParityError: If the IR says something else than the ONNX file.
        ModelRepositoryError: If the version is not whole.
    """
    bundle = load_bundle(repository)
    source = onnx_file(repository, bundle.encoder)
    network = out / ENCODER / bundle.encoder.version / NETWORK
    save_ir(source, network)
    texts, onnx = list(probe_texts(bundle)), onnx_encoder(source)
    exact = OpenVinoModel(network, ENCODER_OUTPUTS, FP32)
    usual = OpenVinoModel(network, ENCODER_OUTPUTS, USUAL)
    gaps = {
        name: worst(
            [
                compare(_near(onnx, x, bundle.interest_vectors), _near(model, x, bundle.interest_vectors))
                for x in texts
            ]
        )
        for name, model in ((FP32, exact), (USUAL, usual))
    }
    require_parity(gaps[FP32], "ONNX Runtime and OpenVINO in fp32")
    require_usual(gaps[USUAL], usual.precision)
    config = openvino_config()
    require_valid(CONFIG, config)
    (out / ENCODER / CONFIG).parent.mkdir(parents=True, exist_ok=True)
    (out / ENCODER / CONFIG).write_text(config, encoding="utf-8")
    return {
        "version": bundle.encoder.version,
        "bytes": {path.name: path.stat().st_size for path in (source, network, network.with_name(WEIGHTS))},
        "onnx_openvino": {name: asdict(gap) for name, gap in gaps.items()},
        "tolerance": {FP32: tolerance(), USUAL: {"vectors": USUAL_TOLERANCE, "top10": USUAL_TOP10}},
        "usual_precision": usual.precision,
    }


def require_usual(gap: Disagreement, precision: str) -> Disagreement:
    """Pass what OpenVINO does by itself on this CPU, if it is within tolerance.

    Raises:
        ParityError: If it is not.
    """
    agreement = gap.top10_agreement
    if gap.vectors <= USUAL_TOLERANCE and (agreement is None or agreement >= USUAL_TOP10):
        return gap
    raise ParityError(
        f"OpenVINO in {precision} moves vectors by {gap.vectors:.2g} (at most {USUAL_TOLERANCE:g}), and {agreement} of the ten "
        f"nearest interests stay (at least {USUAL_TOP10}): serve this encoder with the repository's own config.pbtxt"
    )


def _near(
    model: OnnxModel | OpenVinoModel, inputs: Arrays, interests: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Vectors of texts, and how near each is to every interest's name: what is made of them."""
    vectors = model.run(inputs)["VECTOR"]
    return {"VECTOR": vectors, "SCORES": vectors @ interests.T}
