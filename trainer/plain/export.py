"""A plain BERT run as one ONNX file: adapters merged, token ids in, probabilities out, held against PyTorch.

Shapes: B windows as text, T tokens, L interests. Its probabilities are those of the training, not calibrated.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from numpy.typing import NDArray
from transformers import BertForSequenceClassification

from trainer.contract import ENCODER_INPUTS
from trainer.export import export_module, save_onnx
from trainer.parity import Arrays, OnnxModel, compare, require_parity
from trainer.plain.merged import load_merged, load_plain_tokenizer
from trainer.probe import worst

OUTPUT: Final = "SCORES"
ONNX: Final = "model.onnx"
#: Windows of one request to both runtimes.
_ROWS: Final = 8


class _Probabilities(torch.nn.Module):
    """Token ids and mask, int32 [B, T] each, to probabilities [B, L]."""

    def __init__(self, bert: BertForSequenceClassification) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.bert(
            input_ids=input_ids.long(), attention_mask=attention_mask.long()
        ).logits
        return torch.sigmoid(logits)


def export_plain(run: Path, base: Path, texts: Sequence[str], tokens: int) -> dict[str, Any]:
    """Write the run's best checkpoint as ``model.onnx``, and say how far ONNX Runtime is from PyTorch.

    Args:
        run: A finished run of ``plain train``.
        base: Local directory with the tokenizer that it was trained with.
        texts: Windows that both runtimes are asked about.
        tokens: Of the longest window, as it was trained.

    Raises:
        TrainerError: If there is no finished run, or one that can't be merged into one BERT.
        ParityError: If the two runtimes disagree.
    """
    model = _Probabilities(load_merged(run)).eval()
    ids = torch.ones((2, min(16, tokens)), dtype=torch.int32)
    shapes = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=tokens)}
    named = {"input_ids": shapes, "attention_mask": shapes}
    exported = export_module(model, (ids, ids.clone()), named, (ENCODER_INPUTS, (OUTPUT,)))
    save_onnx(exported, run / ONNX)
    onnx, tokenizer = OnnxModel(run / ONNX, (OUTPUT,)), load_plain_tokenizer(base)
    found = []
    for start in range(0, len(texts), _ROWS):
        inputs = tokenizer(
            list(texts[start : start + _ROWS]),
            truncation=True,
            max_length=tokens,
            padding=True,
            return_tensors="np",
        )
        asked = {
            name: inputs[given].astype("int32")
            for name, given in zip(ENCODER_INPUTS, ("input_ids", "attention_mask"), strict=True)
        }
        found.append(compare(_said(model, asked), onnx.run(asked)))
    gap = require_parity(worst(found), "PyTorch and ONNX plain BERT")
    return {"bytes": (run / ONNX).stat().st_size, "texts": len(texts), "pytorch_onnx": asdict(gap)}


def _said(model: torch.nn.Module, inputs: Arrays) -> dict[str, NDArray[Any]]:
    with torch.no_grad():
        return {OUTPUT: model(*(torch.from_numpy(inputs[name]) for name in ENCODER_INPUTS)).numpy()}
