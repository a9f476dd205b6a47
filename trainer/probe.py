"""Real inputs on which the runtimes are compared: texts in every bucket, and users."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from trainer.contract import BUCKETS, ENCODER_INPUTS
from trainer.encoder import tokenize
from trainer.evaluate import head_batch
from trainer.parity import Disagreement
from trainer.rows import SplitReader, TextVectors
from trainer.samples import Samples

#: Users and texts that the runtimes are compared on, and how many of them a request has.
_ROWS: Final = 256
_REQUEST_ROWS: Final = 16

Named = Mapping[str, NDArray[Any]]


class Probe(NamedTuple):
    """Requests to the encoder, of one bucket each, and to the head; fewer of a shop with few texts or users."""

    encoder: list[Named]
    head: list[Named]


def make_probe(samples: Samples, vectors: TextVectors, tokenizer: Tokenizer) -> Probe:
    """Texts in every bucket, and held-out users at the validation cutoff."""
    inputs = SplitReader(samples, vectors).read(samples.calendar.validation, held_out=True).inputs
    encoder: list[Named] = []
    for start in range(0, min(_ROWS, len(samples.texts)), _REQUEST_ROWS):
        ids, mask = tokenize(tokenizer, samples.texts[start : start + _REQUEST_ROWS])
        bucket = BUCKETS[start // _REQUEST_ROWS % len(BUCKETS)]
        width = max(bucket, ids.shape[1])
        padded = [np.pad(part.numpy(), ((0, 0), (0, width - part.shape[1]))) for part in (ids, mask)]
        encoder.append(dict(zip(ENCODER_INPUTS, padded, strict=True)))
    users = range(0, min(_ROWS, len(inputs.households)), _REQUEST_ROWS)
    head: list[Named] = [head_batch(inputs, slice(start, start + _REQUEST_ROWS)) for start in users]
    return Probe(encoder, head)


def worst(found: Sequence[Disagreement]) -> Disagreement:
    """The largest differences, and the mean agreement of equally large requests."""
    agreements = [gap.top10_agreement for gap in found if gap.top10_agreement is not None]
    return Disagreement(
        vectors=max(gap.vectors for gap in found),
        scores=max(gap.scores for gap in found),
        top10_agreement=float(np.mean(agreements)) if agreements else None,
    )
