"""The stages after training: ONNX files held against PyTorch, ad response, evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from stream.model.repository import load_bundle
from trainer.acts import acts_report
from trainer.ads import assumed_response, fit_response, response_rows
from trainer.contract import ENCODER, ENCODER_INPUTS, HEAD
from trainer.encoder import base_directory, load_encoder, load_tokenizer, tokenize
from trainer.evaluate import (
    MODEL,
    Report,
    ask_head,
    intent_report,
    report,
)
from trainer.export import export_encoder, export_head
from trainer.fit_head import HeadRecipe
from trainer.images import fused_texts
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
from trainer.published_parity import onnx_file
from trainer.report.scored import Scored
from trainer.rival_cache import RivalCache
from trainer.rivals import RivalRecipe, Rivals
from trainer.rows import Split, SplitReader, TextVectors
from trainer.samples import Samples
from trainer.tables import Matrix
from trainer.workspace import Workspace

_BATCH: Final = 64


class Models(NamedTuple):
    """An exported pair, and its vectors of the samples' texts and images."""

    encoder: OnnxModel
    head: OnnxModel
    vectors: TextVectors


class Evaluation(NamedTuple):
    """What :func:`evaluate` found."""

    variants: Report
    #: Purchase intent by days.
    intent: dict[str, dict[str, float]]
    #: How far single acts move the score of an interest that was never bought.
    acts: dict[str, float]
    scored: Scored


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


def models_of(work: Workspace, repository: Path | None = None) -> Models:
    """The run's own pair, or that of a repository's newest version, which needs nothing of the run but its samples."""
    if repository is None:
        return Models(onnx_encoder(work.encoder_onnx), onnx_head(work.head_onnx), work.vectors())
    bundle, samples, tokenizer = load_bundle(repository), work.samples(), load_tokenizer(base_directory())
    encoder, head = (
        load(onnx_file(repository, model))
        for load, model in ((onnx_encoder, bundle.encoder), (onnx_head, bundle.head))
    )
    texts, names = (
        encode_texts(encoder, tokenizer, given) for given in (samples.texts, samples.labels.names)
    )
    return Models(encoder, head, TextVectors(fused_texts(texts, samples, bundle.fusion), names))


def ad_response(samples: Samples, models: Models) -> dict[str, Any]:
    """The manifest's section ``ad_response``; an assumption if the data has no mailings."""
    if not samples.mailed:
        return assumed_response()
    tokenizer = load_tokenizer(base_directory())

    def encode(texts: Sequence[str]) -> Matrix:
        return encode_texts(models.encoder, tokenizer, texts)

    rows = response_rows(samples, models.head, encode, models.vectors.names, models.vectors.texts)
    return fit_response(samples, rows)


def coupon_response(samples: Samples, models: Models) -> dict[str, Any]:
    """How well a response model on this head does on later campaigns, by rows; empty if the data has no mailings."""
    metrics = ad_response(samples, models)["metrics"]
    return {name: metrics[name] for name in ("test", "test_held_out") if name in metrics}


def evaluate(
    work: Workspace,
    models: Models,
    recipe: RivalRecipe,
    progress: Progress,
    *,
    live: bool = False,
    validation: bool = False,
) -> Evaluation:
    """The report of the head and its baselines over the test cutoffs, of purchase intent and of single acts.

    Args:
        work: With samples.
        models: What is evaluated.
        recipe: For the rivals.
        progress: Shows bars.
        live: Add gradient boosting with counts of all users up to the cutoff.
        validation: Score the validation cutoff of the households that are not held out instead: choices are made
            there, so that the test stays unseen.
    """
    samples = work.samples()
    days = (samples.calendar.validation,) if validation else samples.calendar.tests

    def read(reader: SplitReader) -> list[Split]:
        advance = progress("read cutoffs", len(days))
        splits = []
        for day in days:
            splits.append(reader.read(day, held_out=not validation))
            advance(1)
        return splits

    reader = SplitReader(samples, models.vectors)
    splits = read(reader)
    rivals = Rivals(samples, recipe, RivalCache(work.rivals_directory), progress)
    scores = rivals.scores(reader, splits)
    if live:
        fresh = SplitReader(samples, models.vectors, live=True)
        scores.update(rivals.live_scores(fresh, read(fresh)))
    answers = [ask_head(models.head, split.inputs) for split in splits]
    scores[MODEL] = [answer.scores for answer in answers]
    scored = Scored(splits, scores, [answer.intent for answer in answers])
    return Evaluation(
        variants=report(splits, scores, progress),
        intent=intent_report(splits, scored.intent),
        acts=acts_report(models.head, splits[0].inputs, models.vectors.names),
        scored=scored,
    )


def evaluation_protocol(samples: Samples) -> dict[str, Any]:
    """What two evaluations must share for their figures to be of the same households and questions."""
    return {
        "samples": samples.data["sha256"],
        "cutoffs": [day.isoformat() for day in samples.calendar.tests],
        "labels": samples.labels.hash,
    }


def encode_texts(
    encoder: OnnxModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    advance: Callable[[int], None] = lambda _: None,
) -> Matrix:
    """Unit vectors [n, D] by the exported encoder; ``advance`` is told finished texts."""
    pieces = []
    for start in range(0, len(texts), _BATCH):
        chosen = texts[start : start + _BATCH]
        ids, mask = tokenize(tokenizer, chosen)
        named = dict(zip(ENCODER_INPUTS, (ids.numpy(), mask.numpy()), strict=True))
        pieces.append(encoder.run(named)["VECTOR"])
        advance(len(chosen))
    return np.concatenate(pieces)
