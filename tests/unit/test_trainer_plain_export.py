"""Plain BERT of two narrow layers, tuned by an adapter, as an ONNX file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")
transformers = pytest.importorskip("transformers", reason="needs the trainer extra (torch)")

import onnx  # noqa: E402
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer  # noqa: E402

from trainer.errors import TrainerError  # noqa: E402
from trainer.export import OPSET  # noqa: E402
from trainer.parity import OnnxModel  # noqa: E402
from trainer.plain.export import export_plain  # noqa: E402
from trainer.plain.tuning import merged, tuned  # noqa: E402

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "purchase", "today", "brie", "milk", "bread", ":", ";"]
TEXTS = ["purchase today: brie", "purchase today: bread; milk; brie", "milk"]
INTERESTS = 12


def write_tokenizer(directory: Path) -> None:
    """A tokenizer of a few words."""
    (directory / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(vocab=str(directory / "vocab.txt")).save_pretrained(directory)


def lora_run(directory: Path, interests: int = INTERESTS) -> Any:
    """A run whose adapter was trained: the tuned model, and its merged copy on the disk."""
    torch.manual_seed(0)
    made: Any = BertConfig
    config = made(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=interests,
        problem_type="multi_label_classification",
    )
    bert: Any = BertForSequenceClassification
    model: Any = tuned(bert(config), "lora", 100)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.5)
    model.eval()
    mask = torch.ones((1, 6), dtype=torch.long)
    said = torch.sigmoid(model(input_ids=torch.arange(2, 8)[None], attention_mask=mask).logits)
    whole: Any = merged(model)
    whole.save_pretrained(directory / "model")
    return said.detach().numpy()


def test_the_file_says_what_the_model_with_its_adapter_said(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    said = lora_run(tmp_path / "run")

    told = export_plain(tmp_path / "run", tmp_path, TEXTS, tokens=32)

    assert told["pytorch_onnx"]["scores"] <= 1e-4
    assert told["pytorch_onnx"]["top10_agreement"] == 1.0
    exported = OnnxModel(tmp_path / "run" / "model.onnx", ("SCORES",))
    ids = np.arange(2, 8, dtype=np.int32)[None]
    found = exported.run({"INPUT_IDS": ids, "ATTENTION_MASK": np.ones_like(ids)})["SCORES"]
    np.testing.assert_allclose(found, said, atol=1e-4)
    written = onnx.load(tmp_path / "run" / "model.onnx")
    assert written.opset_import[0].version == OPSET
    assert not any("lora" in weight.name for weight in written.graph.initializer)


@pytest.mark.parametrize(
    ("made", "why"), [(None, "is no finished run"), ("adapter_config.json", "keeps a prompt beside BERT")]
)
def test_what_is_no_single_bert_is_refused(tmp_path: Path, made: str | None, why: str) -> None:
    if made is not None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / made).write_text("{}", encoding="utf-8")

    with pytest.raises(TrainerError, match=why):
        export_plain(tmp_path, tmp_path, TEXTS, tokens=32)
