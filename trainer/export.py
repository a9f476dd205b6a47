"""PyTorch to ONNX, made small: large encoder weights in int8, large head tables in float16, expanded at load.

Nothing is quantised that the PyTorch modules were not rounded to before, so both say the same up to float error;
activations stay in float.
"""

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS
from trainer.contract import (
    DIMENSIONS,
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
    HEAD_INPUTS,
    HEAD_OUTPUTS,
    MAX_TOKENS,
)
from trainer.encoder import BehaviourEncoder
from trainer.errors import ExportError
from trainer.head import InterestHead

OPSET: Final = 18
#: Servers older than their exporter read no newer file format.
MAX_IR_VERSION: Final = 10
#: Smaller tensors are not worth a node.
_LARGE: Final = 2048
#: Rounded weights give their own int8 back; anything else was not rounded.
_ROUNDING_TOLERANCE: Final = 1e-5


def export_encoder(encoder: BehaviourEncoder, path: Path) -> None:
    """Write the encoder as one ONNX file with int8 weights.

    Raises:
        ExportError: If a large weight was not rounded before (see ``round_to_int8``).
    """
    ids = torch.ones((2, 16), dtype=torch.int32)
    batch = torch.export.Dim("batch", min=1, max=4096)
    tokens = torch.export.Dim("tokens", min=2, max=MAX_TOKENS)
    shapes = {0: batch, 1: tokens}
    model = export_module(
        encoder.eval(),
        (ids, ids.clone()),
        {"input_ids": shapes, "attention_mask": shapes},
        (ENCODER_INPUTS, ENCODER_OUTPUTS),
    )
    store_in_int8(model)
    save_onnx(model, path)


def export_head(head: InterestHead, labels: int, path: Path) -> None:
    """Write the head as one ONNX file with its large tables in float16."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    inputs = (
        torch.zeros((2, labels, len(HISTORY_FEATURES))),
        torch.zeros((2, len(USER_FEATURES))),
        torch.zeros((2, len(WINDOW_HALF_LIVES_DAYS), DIMENSIONS)),
    )
    shapes = {name: {0: batch} for name in ("history", "user", "window")}
    model = export_module(head.eval(), inputs, shapes, (HEAD_INPUTS, HEAD_OUTPUTS))
    store_in_half(model)
    save_onnx(model, path)


def round_to_half(head: InterestHead) -> None:
    """Round the head's large tables and weights to float16, in place: what is measured is what is shipped."""
    with torch.no_grad():
        for tensor in (*head.parameters(), *head.buffers()):
            if tensor.numel() >= _LARGE and tensor.is_floating_point():
                tensor.copy_(tensor.half().float())


def store_in_int8(model: onnx.ModelProto) -> None:
    """Replace large weights by int8 and one scale per output channel, in place.

    Raises:
        ExportError: If a weight is not a multiple of its scale.
    """
    for weight in _large_initializers(model):
        if min(weight.dims) <= MAX_TOKENS:
            continue  # positions and token types: small, and not rounded
        axis = _channel_axis(model.graph, weight.name)
        levels, scale = _int8(numpy_helper.to_array(weight), axis, weight.name)
        _replace(model.graph, weight, levels, "DequantizeLinear", scale=scale, axis=axis)


def store_in_half(model: onnx.ModelProto) -> None:
    """Replace large float tensors by float16 and a cast, in place."""
    for weight in _large_initializers(model):
        half = numpy_helper.to_array(weight).astype(np.float16)
        _replace(model.graph, weight, half, "Cast", to=TensorProto.FLOAT)


def export_module(
    module: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    dynamic_shapes: dict[str, Any],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> onnx.ModelProto:
    """A module as ONNX of the pinned opset; ``names`` are those of its inputs and of its outputs."""
    with torch.no_grad(), warnings.catch_warnings():
        # Of two inputs with one batch axis only the first names it, which is what is meant.
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            dynamic_shapes=dynamic_shapes,
            input_names=list(names[0]),
            output_names=list(names[1]),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    assert isinstance(model, onnx.ModelProto)
    return model


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Check and write a file that old servers read too, without the exporter's notes."""
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    # Shapes of intermediate values and the exporter's notes are of no use to a server.
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    _store_once(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _store_once(graph: onnx.GraphProto) -> None:
    """Keep one of large tensors that are alike: the exporter writes a table anew for each of its uses."""
    kept: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed: dict[str, str] = {}
    for tensor in [tensor for tensor in graph.initializer if np.prod(tensor.dims) >= _LARGE]:
        content = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        if kept.setdefault(content, tensor.name) != tensor.name:
            renamed[tensor.name] = kept[content]
            graph.initializer.remove(tensor)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _large_initializers(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and np.prod(tensor.dims) >= _LARGE
    ]


def _channel_axis(graph: onnx.GraphProto, name: str) -> int:
    """Along which axis of a weight its scales run: words of a Gather, columns of a product."""
    for node in graph.node:
        if name in node.input:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            return 0 if node.op_type == "Gather" or transposed else 1
    raise ExportError(f"the weight {name} is used by no node; export the encoder again")


def _int8(weight: NDArray[np.float32], axis: int, name: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    scale = np.maximum(np.abs(weight).max(axis=1 - axis, keepdims=True), 1e-12) / np.float32(127.0)
    levels = np.round(weight / scale)
    error = float(np.abs(levels * scale - weight).max())
    if error > _ROUNDING_TOLERANCE:
        raise ExportError(
            f"the weight {name} is up to {error:.2g} away from int8 steps; call round_to_int8 before the export"
        )
    return levels.astype(np.int8), scale.reshape(-1).astype(np.float32)


def _replace(
    graph: onnx.GraphProto,
    weight: onnx.TensorProto,
    stored: NDArray[Any],
    operator: str,
    *,
    scale: NDArray[np.float32] | None = None,
    **attributes: Any,
) -> None:
    """Put a small stored tensor and the node that expands it in place of a weight."""
    small = f"{weight.name}.stored"
    inputs = [small]
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(stored), small))
    if scale is not None:
        inputs.append(f"{weight.name}.scale")
        graph.initializer.append(numpy_helper.from_array(scale, inputs[1]))
    graph.node.insert(0, helper.make_node(operator, inputs, [weight.name], name=small, **attributes))
    graph.initializer.remove(weight)
