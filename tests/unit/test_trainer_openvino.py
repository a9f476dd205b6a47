"""The encoder in OpenVINO's format, run by OpenVINO itself; Triton's OpenVINO backend is not here."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch, onnxruntime)")
pytest.importorskip("openvino", reason="needs the trainer extra (openvino)")

import onnx
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2
from typer.testing import CliRunner

from stream.model.repository import load_bundle
from trainer.cli import app
from trainer.errors import ParityError
from trainer.export import MAX_IR_VERSION, OPSET
from trainer.model_config import openvino_config
from trainer.openvino_ir import FP32, USUAL, OpenVinoModel, require_usual, save_ir
from trainer.parity import Disagreement, OnnxModel

pytestmark = pytest.mark.trainer
REPOSITORY = Path(__file__).parents[2] / "triton_models"
INPUTS, OUTPUTS = 256, 128


def product(path: Path) -> None:
    """One product with int8 weights, as the encoder's are stored."""
    draw = np.random.default_rng(0)
    weight = draw.integers(-127, 128, (INPUTS, OUTPUTS)).astype(np.int8)
    scale = draw.uniform(0.001, 0.01, OUTPUTS).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["weight", "scale"], ["expanded"], axis=1),
            helper.make_node("MatMul", ["x", "expanded"], ["y"]),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", OUTPUTS])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(scale, "scale")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=MAX_IR_VERSION),
        path,
    )


def test_weights_stay_int8_in_the_file_and_activations_in_float(tmp_path: Path) -> None:
    product(tmp_path / "product.onnx")
    save_ir(tmp_path / "product.onnx", tmp_path / "ir" / "model.xml")
    model = OpenVinoModel(tmp_path / "ir" / "model.xml", ("y",), FP32)
    inputs = {"x": np.random.default_rng(1).normal(size=(5, INPUTS)).astype(np.float32)}

    found = model.run(inputs)["y"]

    assert (tmp_path / "ir" / "model.bin").stat().st_size < 1.2 * INPUTS * OUTPUTS
    assert model.precision == "f32"
    assert not model.quantises_activations
    wanted = OnnxModel(tmp_path / "product.onnx", ("y",)).run(inputs)["y"]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_openvino_would_quantise_activations_of_the_bare_onnx_file(tmp_path: Path) -> None:
    product(tmp_path / "product.onnx")

    assert OpenVinoModel(tmp_path / "product.onnx", ("y",), USUAL).quantises_activations


def test_the_shipped_encoder_is_written_where_a_repository_has_it(tmp_path: Path) -> None:
    repository, figures = tmp_path / "models", tmp_path / "openvino.json"
    shutil.copytree(REPOSITORY, repository)

    told = CliRunner().invoke(
        app, ["openvino", str(repository), "--repository", str(repository), "--json", str(figures)]
    )

    assert told.exit_code == 0, told.output
    found = json.loads(figures.read_text())
    assert found["bytes"]["model.bin"] < found["bytes"]["model.onnx"]
    fp32, usual = found["onnx_openvino"]["fp32"], found["onnx_openvino"]["usual"]
    assert fp32["vectors"] <= found["tolerance"]["fp32"]["vectors"]
    assert fp32["top10_agreement"] == 1.0
    assert usual["vectors"] <= found["tolerance"]["usual"]["vectors"]
    encoder = load_bundle(repository).encoder  # the added files are no alteration
    written = repository / "behaviour_encoder"
    assert {path.name for path in (written / encoder.version).glob("model.*")} == {
        *("model.bin", "model.onnx", "model.py", "model.xml")
    }
    assert (written / "configs" / "openvino.pbtxt").read_text() == openvino_config()


def test_triton_gets_the_same_tensors_with_the_rows_in_their_shapes() -> None:
    config = text_format.Parse(openvino_config(), model_config_pb2.ModelConfig())

    assert (config.name, config.backend, config.default_model_filename) == (
        *("behaviour_encoder", "openvino", "model.xml"),
    )
    # With a batch size the backend pads each request to it.
    assert config.max_batch_size == 0
    assert [(tensor.name, list(tensor.dims)) for tensor in (*config.input, *config.output)] == [
        ("INPUT_IDS", [-1, -1]),
        ("ATTENTION_MASK", [-1, -1]),
        ("VECTOR", [-1, 384]),
    ]
    assert [(warmup.batch_size, list(warmup.inputs["INPUT_IDS"].dims)) for warmup in config.model_warmup] == [
        (1, [16, 16]),
        (1, [16, 32]),
        (1, [16, 64]),
    ]


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (Disagreement(0.02, 0.0, 1.0), r"moves vectors by 0\.02 \(at most 0\.005\)"),
        (Disagreement(0.001, 0.0, 0.9), r"0\.9 of the ten nearest interests stay \(at least 0\.95\)"),
    ],
)
def test_a_cpu_that_moves_vectors_or_neighbours_too_far_is_refused(gap: Disagreement, said: str) -> None:
    with pytest.raises(ParityError, match=said):
        require_usual(gap, "bf16")
