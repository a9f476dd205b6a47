"""A finished run of plain BERT as one more rival in the table of an evaluation.

Shapes: n households of one cutoff, L interests.
"""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.encoder import batches_by_length
from trainer.errors import TrainerError
from trainer.evaluate import Scores
from trainer.plain.fit import FIGURES, probabilities
from trainer.plain.merged import load_merged, load_plain_tokenizer
from trainer.plain.window_text import told_windows
from trainer.progress import Progress
from trainer.samples import Samples

#: A day, and the households that are asked about [n].
Cutoff = tuple[date, NDArray[np.int64]]

#: Windows of one batch, of about one length.
_ROWS: Final = 64


def plain_scores(
    run: Path, base: Path, samples: Samples, asked: Sequence[Cutoff], progress: Progress
) -> list[Scores]:
    """Probabilities [n, L] at each cutoff, not calibrated, from the same windows that the head is given.

    Args:
        run: A finished run of ``plain train`` on these samples' interests.
        base: Local directory with the tokenizer that it was trained with.
        samples: Where the windows are.
        asked: Who, and when.
        progress: Shows a bar.

    Raises:
        TrainerError: If there is no finished run, one that is no single BERT, or one of other interests.
    """
    model, tokenizer = load_merged(run), load_plain_tokenizer(base)
    if model.config.num_labels != len(samples.labels):
        raise TrainerError(
            f"{run} was trained for {model.config.num_labels} interests, the samples have {len(samples.labels)}: train "
            "it again with `interestflow-trainer plain train`"
        )
    tokens = json.loads((run / FIGURES).read_text(encoding="utf-8"))["recipe"]["tokens"]
    advance = progress("ask plain BERT", sum(len(households) for _, households in asked))
    found = []
    for day, households in asked:
        texts = told_windows(samples, day, households)
        found.append(
            _said(model, tokenizer(texts, truncation=True, max_length=tokens)["input_ids"], tokenizer)
        )
        advance(len(texts))
    return found


def _said(model: Any, encoded: Sequence[list[int]], tokenizer: Any) -> Scores:
    """Probabilities [n, L] of windows as token ids."""
    said = np.empty((len(encoded), model.config.num_labels), dtype=np.float32)
    for rows in batches_by_length(encoded, _ROWS):
        padded = tokenizer.pad({"input_ids": [encoded[row] for row in rows]}, return_tensors="pt")
        with torch.no_grad():
            said[rows] = probabilities(model(**padded).logits.numpy())
    return said
