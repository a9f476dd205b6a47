"""The best checkpoint of a finished run, its adapters merged into one BERT, and its tokenizer."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BertForSequenceClassification

from trainer.errors import TrainerError


def load_merged(run: Path) -> BertForSequenceClassification:
    """The run's BERT, ready to be asked.

    Raises:
        TrainerError: If there is no finished run, or one that can't be merged into one BERT.
    """
    kept = run / "model"
    if not (kept / "config.json").exists():
        why = "keeps a prompt beside BERT, which can't be merged" if kept.exists() else "is no finished run"
        raise TrainerError(f"{run} {why}: name another run of `interestflow-trainer plain train`")
    bert: BertForSequenceClassification = BertForSequenceClassification.from_pretrained(
        str(kept),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        attn_implementation="eager",
    )
    bert.eval()
    return bert


def load_plain_tokenizer(base: Path) -> Any:
    """The tokenizer of a Hugging Face BERT in a local directory."""
    return AutoTokenizer.from_pretrained(str(base), local_files_only=True, trust_remote_code=False)
