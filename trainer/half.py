"""A copy of the encoder that computes in fp16, for GPUs, and the script that builds TensorRT engines from it.

TensorRT 11 takes types from the graph alone (its flag for fp16 is gone), so they are built into the ONNX file. The copy is
made where it is served: its weights are expanded to fp16 and are twice the shipped size. Sums that need the digits
stay in fp32. No GPU was at hand: the copy is checked on a CPU, which rounds between operators and may add in fp32; the
engines were not built.
"""

import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from trainer.contract import BUCKETS, ENCODER_INPUTS
from trainer.errors import ParityError
from trainer.parity import Disagreement

#: Files that are written.
HALF: Final = "model_half.onnx"
ENGINE_SCRIPT: Final = "build_tensorrt.sh"
#: Largest difference of a component of a unit vector between fp16 and fp32; a component is .04 on average.
HALF_TOLERANCE: Final = 1e-3
_IN_FLOAT: Final = ("LayerNormalization", "Softmax", "ReduceL2", "ReduceSum")
#: Rows of a request that an engine is tuned for, and takes at most.
_USUAL_ROWS: Final = 32
_MOST_ROWS: Final = 64


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its computations in fp16; inputs and outputs keep their types. The given one is changed."""
    _expand(model.graph)
    with warnings.catch_warnings():
        # The mask's largest negative number becomes that of fp16, which is meant.
        warnings.filterwarnings("ignore", message="the float32 number", category=UserWarning)
        made = convert_float_to_float16(
            model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_IN_FLOAT]
        )
    assert isinstance(made, onnx.ModelProto)
    OnnxModel.graph_topological_sort(made.graph)
    onnx.checker.check_model(made, full_check=True)
    return made


def require_close(gap: Disagreement) -> Disagreement:
    """Pass an fp16 copy that is within tolerance of the fp32 model.

    Raises:
        ParityError: If it is not.
    """
    if gap.vectors <= HALF_TOLERANCE:
        return gap
    raise ParityError(
        f"fp16 moves vectors by {gap.vectors:.2g}, at most {HALF_TOLERANCE:g} is allowed: serve this encoder in fp32"
    )


def engine_script() -> str:
    """A shell script that builds a TensorRT engine of the fp16 copy beside it, with one profile per length."""
    profiles = "".join(
        f" \\\n  --profile={index} --minShapes={_shapes(1, length)} --optShapes={_shapes(_USUAL_ROWS, length)}"
        f" --maxShapes={_shapes(_MOST_ROWS, length)}"
        for index, length in enumerate(BUCKETS)
    )
    return (
        "#!/bin/sh\n"
        "# Build on the GPU and with the TensorRT that serve it. Written from the documentation of TensorRT 11, not run.\n"
        "# Types come from the graph: there is no flag for fp16 any more.\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        f"trtexec --onnx={HALF} --saveEngine=model.plan --timingCacheFile=timing.cache{profiles}\n"
    )


def _shapes(rows: int, length: int) -> str:
    return ",".join(f"{name}:{rows}x{length}" for name in ENCODER_INPUTS)


def _expand(graph: onnx.GraphProto) -> None:
    """Weights in place of the nodes that expand them at load."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        levels, scale = (numpy_helper.to_array(stored[name]) for name in node.input)
        axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
        weight = levels.astype(np.float32) * np.expand_dims(scale, 1 - axis)
        graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
        graph.node.remove(node)
        for name in node.input:
            graph.initializer.remove(stored[name])


def save_half(source: Path, target: Path) -> None:
    """Write the fp16 copy of an exported encoder."""
    onnx.save(in_half(onnx.load(source)), target)
