"""Writes a throw-away Triton repository with ``plain_bert``: BERT over a whole window's text, the cost to compare with.

It is made from the shipped encoder, so it needs no torch, only the ``onnx`` package: the same six layers over 128
tokens instead of 64, and a linear layer to 268 labels. The added weights are random and positions beyond 64 repeat:
its speed is real, its answers mean nothing. It runs by the same model.py, on the same engine.

    python benchmarks/plain_bert_repository.py OUT_DIRECTORY [--repository triton_models]
"""

import argparse
import shutil
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stream.model.repository import newest_version

MODEL: Final = "plain_bert"
TOKENS: Final = 128
LABELS: Final = 268
_VECTOR: Final = "VECTOR"
_POSITIONS: Final = "bert.embeddings.position_embeddings.weight"

_CONFIG: Final = f"""\
name: "{MODEL}"
backend: "python"
max_batch_size: 16
input [
  {{ name: "INPUT_IDS" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true }},
  {{ name: "ATTENTION_MASK" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true }}
]
output [ {{ name: "SCORES" data_type: TYPE_FP32 dims: [ {LABELS} ] }} ]
dynamic_batching {{ max_queue_delay_microseconds: 500 }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
parameters {{ key: "engine" value {{ string_value: "auto" }} }}
parameters {{ key: "threads" value {{ string_value: "1" }} }}
parameters {{ key: "run_rows" value {{ string_value: "16" }} }}
parameters {{ key: "buckets" value {{ string_value: "{TOKENS}" }} }}
parameters {{ key: "max_id" value {{ string_value: "30521" }} }}
"""


def write_plain_bert(out: Path, repository: Path = Path("triton_models")) -> Path:
    """Write the model into ``out`` and give its directory; whatever was there under its name goes."""
    version = newest_version(repository / "behaviour_encoder")
    target = out / MODEL
    shutil.rmtree(target, ignore_errors=True)
    (target / "1").mkdir(parents=True)
    (target / "config.pbtxt").write_text(_CONFIG, encoding="utf-8")
    shutil.copyfile(version / "model.py", target / "1" / "model.py")
    model = onnx.load(version / "model.onnx")
    _lengthen(model.graph)
    _classify(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target / "1" / "model.onnx")
    return target


def _lengthen(graph: onnx.GraphProto) -> None:
    """Give the graph positions up to ``TOKENS``."""
    positions = next(tensor for tensor in graph.initializer if tensor.name == _POSITIONS)
    known = numpy_helper.to_array(positions)
    longer = np.tile(known, (TOKENS // len(known), 1))
    positions.CopyFrom(numpy_helper.from_array(longer, _POSITIONS))


def _classify(graph: onnx.GraphProto) -> None:
    """Replace the vector output by ``LABELS`` probabilities of it."""
    dimensions = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    weights = np.random.default_rng(0).normal(size=(dimensions, LABELS)).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(weights, "labels.weight"))
    graph.node.append(helper.make_node("MatMul", [_VECTOR, "labels.weight"], ["logits"]))
    graph.node.append(helper.make_node("Sigmoid", ["logits"], ["SCORES"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("SCORES", TensorProto.FLOAT, ["batch", LABELS]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--repository", type=Path, default=Path("triton_models"))
    arguments = parser.parse_args()
    print(write_plain_bert(arguments.out, arguments.repository))
