"""The fp16 copy of the shipped encoder, on this CPU; the TensorRT script is only read."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch, onnxruntime)")

import onnx
from onnx import TensorProto
from typer.testing import CliRunner

from trainer.cli import app
from trainer.contract import BUCKETS
from trainer.errors import ParityError
from trainer.export import MAX_IR_VERSION, OPSET
from trainer.half import engine_script, require_close
from trainer.parity import Disagreement

pytestmark = pytest.mark.trainer
REPOSITORY = Path(__file__).parents[2] / "triton_models"


def test_the_shipped_encoder_in_fp16_is_close_to_fp32_and_half_as_large(tmp_path: Path) -> None:
    figures = tmp_path / "half.json"

    told = CliRunner().invoke(
        app, ["half", str(tmp_path / "gpu"), "--repository", str(REPOSITORY), "--json", str(figures)]
    )

    assert told.exit_code == 0, told.output
    found = json.loads(figures.read_text())
    assert 0.0 < found["fp32_fp16"]["vectors"] <= found["tolerance"]
    made = onnx.load(tmp_path / "gpu" / "model_half.onnx")
    wide = [
        tensor.name
        for tensor in made.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 2048
    ]
    assert wide == []
    assert made.opset_import[0].version == OPSET
    assert [tensor.type.tensor_type.elem_type for tensor in made.graph.output] == [TensorProto.FLOAT]
    script = (tmp_path / "gpu" / "build_tensorrt.sh").read_text()
    named = set(re.findall(r"([A-Z_]+):\d+x\d+", script))
    assert named == {tensor.name for tensor in made.graph.input}


def test_the_engine_has_a_profile_for_every_length() -> None:
    script = engine_script()

    subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=True)
    for index, length in enumerate(BUCKETS):
        shapes = ",".join(f"{name}:%dx{length}" for name in ("INPUT_IDS", "ATTENTION_MASK"))
        assert (
            f"--profile={index} --minShapes={shapes % (1, 1)} --optShapes={shapes % (32, 32)} "
            f"--maxShapes={shapes % (64, 64)}"
        ) in script
    assert not re.search(r"--(fp16|bf16|int8|best)\b", script)  # TensorRT 11 has none of these


def test_a_copy_that_moves_vectors_too_far_is_refused() -> None:
    with pytest.raises(ParityError, match=r"fp16 moves vectors by 0\.02, at most 0\.001 is allowed"):
        require_close(Disagreement(vectors=0.02, scores=0.0, top10_agreement=None))


@pytest.mark.parametrize("model", ["behaviour_encoder", "interest_head"])
def test_the_opset_of_what_is_shipped_is_pinned(model: str) -> None:
    for path in (REPOSITORY / model).glob("*/model.onnx"):
        shipped = onnx.load(path)

        assert [(entry.domain, entry.version) for entry in shipped.opset_import] == [("", 18)]
        assert shipped.ir_version <= MAX_IR_VERSION
