"""The stages after training: ONNX files held against PyTorch, ad response, evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from tokenizers import Tokenizer

from stream.model.repository import load_bundle
from trainer.ads import assumed_response, fit_response, response_rows
from trainer.baselines import Boosting, BoostingRecipe, counters
from trainer.contract import ENCODER, ENCODER_INPUTS, HEAD
from trainer.encoder import base_directory, load_encoder, load_tokenizer, tokenize
from trainer.evaluate import (
    GBDT,
    GBDT_LIVE,
    MODEL,
    Report,
    Scores,
    ask_head,
    intent_report,
    report,
)
from trainer.export import export_encoder, export_head
from trainer.fit_head import HeadRecipe
from trainer.parity import (
    OnnxModel,
    compare,
    onnx_encoder,
    onnx_head,
    require_parity,
    torch_encoder_outputs,
    torch_head_outputs,
)
from trainer.probe import make_probe, worst
from trainer.progress import Progress
from trainer.rows import Split, SplitReader, TextVectors
from trainer.samples import Samples
from trainer.tables import Matrix
from trainer.workspace import Workspace

_BATCH: Final = 64


def export(work: Workspace, recipe: HeadRecipe) -> dict[str, Any]:
    """Write both ONNX files and hold them against PyTorch; the disagreements.

    Raises:
        ParityError: If they are not the same model.
    """
    samples, base = work.samples(), base_directory()
    encoder, head = load_encoder(base, work.encoder_weights), work.head(recipe.shape)
    export_encoder(encoder, work.encoder_onnx)
    export_head(head, len(samples.labels), work.head_onnx)
    probe = make_probe(samples, work.vectors(), load_tokenizer(base))
    encoder_onnx, head_onnx = onnx_encoder(work.encoder_onnx), onnx_head(work.head_onnx)
    found = {
        ENCODER: worst(
            [compare(torch_encoder_outputs(encoder, x), encoder_onnx.run(x)) for x in probe.encoder]
        ),
        HEAD: worst([compare(torch_head_outputs(head, x), head_onnx.run(x)) for x in probe.head]),
    }
    return {name: asdict(require_parity(gap, f"PyTorch and ONNX {name}")) for name, gap in found.items()}


def ad_response(work: Workspace, repository: Path | None = None) -> dict[str, Any]:
    """The manifest's section ``ad_response``; an assumption if the data has no mailings."""
    samples, vectors = work.samples(), work.vectors()
    if not samples.mailed:
        return assumed_response()
    encoder, head = _models(work, repository)
    tokenizer = load_tokenizer(base_directory())

    def encode(texts: Sequence[str]) -> Matrix:
        return _encode(encoder, tokenizer, texts)

    rows = response_rows(samples, head, encode, vectors.names, vectors.texts)
    return fit_response(samples, rows)


def evaluate(
    work: Workspace,
    recipe: BoostingRecipe,
    progress: Progress,
    *,
    repository: Path | None = None,
    live: bool = False,
) -> tuple[Report, dict[str, Any]]:
    """The report of the exported head and its baselines at the test cutoff, and of purchase intent.

    Args:
        work: With samples, and with the exported models unless a repository is given.
        recipe: For gradient boosting.
        progress: Shows bars.
        repository: Evaluate the published version there instead.
        live: Add gradient boosting with counts of all users up to the cutoff.
    """
    samples = work.samples()
    encoder, head = _models(work, repository)
    vectors = work.vectors()
    if repository is not None:
        tokenizer = load_tokenizer(base_directory())
        vectors = TextVectors(
            _encode(encoder, tokenizer, samples.texts), _encode(encoder, tokenizer, samples.labels.names)
        )
    reader = SplitReader(samples, vectors)
    test = reader.read(samples.calendar.test, held_out=True)
    answers = ask_head(head, test.inputs)
    bar = progress("fit gradient boosting", recipe.rounds)
    scores = {**counters(test), GBDT: _boosted(reader, test, recipe, bar)}
    if live:
        fresh = SplitReader(samples, vectors, live=True)
        bar = progress("fit it with live counts", recipe.rounds)
        scores[GBDT_LIVE] = _boosted(fresh, fresh.read(samples.calendar.test, held_out=True), recipe, bar)
    scores[MODEL] = answers.scores
    return report(test, scores), intent_report(test, answers.intent)


def evaluation_protocol(samples: Samples) -> dict[str, Any]:
    """What two evaluations must share for their figures to be of the same households and questions."""
    return {
        "samples": samples.data["sha256"],
        "cutoffs": [samples.calendar.test.isoformat()],
        "labels": samples.labels.hash,
    }


def _models(work: Workspace, repository: Path | None) -> tuple[OnnxModel, OnnxModel]:
    """Encoder and head of the run, or of a repository's newest version."""
    if repository is None:
        return onnx_encoder(work.encoder_onnx), onnx_head(work.head_onnx)
    bundle = load_bundle(repository)
    paths = [
        repository / model.name / model.version / "model.onnx" for model in (bundle.encoder, bundle.head)
    ]
    return onnx_encoder(paths[0]), onnx_head(paths[1])


def _encode(encoder: OnnxModel, tokenizer: Tokenizer, texts: Sequence[str]) -> Matrix:
    """Unit vectors [n, D] by the exported encoder."""
    pieces = []
    for start in range(0, len(texts), _BATCH):
        ids, mask = tokenize(tokenizer, texts[start : start + _BATCH])
        named = dict(zip(ENCODER_INPUTS, (ids.numpy(), mask.numpy()), strict=True))
        pieces.append(encoder.run(named)["VECTOR"])
    return np.concatenate(pieces)


def _boosted(
    reader: SplitReader, test: Split, recipe: BoostingRecipe, advance: Callable[[int], None]
) -> Scores:
    boosting = Boosting(recipe)
    boosting.fit(reader.read_fit(every=recipe.every), advance)
    return boosting.predict(test.derived)
