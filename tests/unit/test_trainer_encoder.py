"""The encoder's own steps on a BERT of one small layer."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")
transformers = pytest.importorskip("transformers", reason="needs the trainer extra (transformers)")

from trainer.contract import ENCODER_INPUTS, ENCODER_OUTPUTS  # noqa: E402
from trainer.encoder import BehaviourEncoder, round_to_int8  # noqa: E402
from trainer.errors import ExportError  # noqa: E402
from trainer.export import export_encoder  # noqa: E402
from trainer.parity import OnnxModel, compare, require_parity, torch_encoder_outputs  # noqa: E402

pytestmark = pytest.mark.trainer
VOCABULARY = 300


def encoder() -> BehaviourEncoder:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=128,
        attn_implementation="eager",
    )
    made = BehaviourEncoder(transformers.BertModel(config, add_pooling_layer=False))
    made.eval()
    return made


def tokens(rows: int, length: int) -> "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int32]]]":
    ids = np.random.default_rng(length).integers(1, VOCABULARY, (rows, length)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[0, length // 2 :] = 0
    return dict(zip(ENCODER_INPUTS, (ids, mask), strict=True))


def test_padding_does_not_change_a_vector() -> None:
    short = tokens(2, 8)
    long = {name: np.pad(array, ((0, 0), (0, 24))) for name, array in short.items()}

    found = compare(torch_encoder_outputs(encoder(), short), torch_encoder_outputs(encoder(), long))

    assert found.vectors < 1e-6


def test_a_text_without_tokens_has_no_direction_and_no_nan() -> None:
    nothing = {name: np.zeros((1, 16), dtype=np.int32) for name in ENCODER_INPUTS}

    vector = torch_encoder_outputs(encoder(), nothing)["VECTOR"]

    assert vector.tolist() == [[0.0] * 96]


def test_rounding_twice_is_rounding_once() -> None:
    once, twice = encoder(), encoder()
    round_to_int8(once)
    round_to_int8(twice)
    round_to_int8(twice)

    found = compare(torch_encoder_outputs(once, tokens(3, 8)), torch_encoder_outputs(twice, tokens(3, 8)))

    assert found.vectors < 1e-6


def test_the_int8_file_says_what_the_rounded_encoder_says(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    made = encoder()
    round_to_int8(made)
    export_encoder(made, tmp_path / "encoder.onnx")
    onnx = OnnxModel(tmp_path / "encoder.onnx", ENCODER_OUTPUTS)

    for rows, length in ((1, 16), (3, 9), (2, 64)):
        inputs = tokens(rows, length)
        require_parity(compare(torch_encoder_outputs(made, inputs), onnx.run(inputs)), "PyTorch and ONNX")


def test_weights_that_were_not_rounded_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="call round_to_int8 before the export"):
        export_encoder(encoder(), tmp_path / "encoder.onnx")
