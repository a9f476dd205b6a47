"""Training on from the last version: its encoder is kept, its head starts from the published weights.

Since the encoder is the same file, workers keep every text vector that they have.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stream.model.repository import load_bundle
from trainer.contract import ENCODER, HEAD
from trainer.encoder import base_directory, load_tokenizer
from trainer.errors import TrainerError
from trainer.evaluate import MODEL, ask_head, report
from trainer.export import export_head, round_to_half
from trainer.fit_head import HeadRecipe, fit_intent, fit_network, fit_user_vector, steps
from trainer.handover import WEIGHTS, load_weights, save_handover
from trainer.head import InterestHead
from trainer.images import fused_texts, keep_fusion
from trainer.models import encode_texts
from trainer.parity import compare, onnx_encoder, onnx_head, require_parity, torch_head_outputs
from trainer.probe import make_probe, worst
from trainer.progress import Progress
from trainer.publish import read_manifest
from trainer.published_parity import onnx_file
from trainer.rows import SplitReader, TextVectors
from trainer.samples import Samples
from trainer.stages import evaluation_protocol
from trainer.train import calibrate, measure_head
from trainer.workspace import Workspace


@dataclass(frozen=True, slots=True)
class UpdateRecipe:
    """How far an update goes on.

    Attributes:
        head: Shorter and slower than a training from nothing.
        weeks: So many of the newest weekly cutoffs are learnt from.
    """

    head: HeadRecipe = field(default_factory=lambda: HeadRecipe(epochs=1, learning_rate=5e-4))
    weeks: int = 8


def update_head(
    work: Workspace, repository: Path, recipe: UpdateRecipe, progress: Progress
) -> dict[str, Any]:
    """Train the head on from the repository's newest version, calibrate and export it; figures.

    Args:
        work: With the newest samples; gets everything that an evaluation and a publication need.
        repository: Has the version.
        recipe: How far.
        progress: Shows bars.

    Raises:
        TrainerError: If the version's interests are not those of the samples, or it can't be continued.
        ParityError: If PyTorch and ONNX Runtime disagree.
    """
    samples = work.samples()
    previous = read_manifest(repository)
    require_same_interests(samples, previous, repository)
    _keep_encoder(work, samples, repository)
    reader = SplitReader(samples, work.vectors())
    weeks = min(recipe.weeks, len(samples.calendar.fit_cutoffs()))
    splits = reader.read_fit(most=weeks, advance=progress("derive features", weeks))
    rows = reader.read_training_rows(splits, recipe.head.seed)
    tables = reader.tables(samples.calendar.validation)
    torch.manual_seed(recipe.head.seed)
    head = InterestHead(tables, work.vectors().names, recipe.head.shape)
    load_weights(head, repository / HEAD / str(previous["version"]) / WEIGHTS)
    validation = reader.read(samples.calendar.validation, held_out=False)
    calibrate(head, validation)
    before = measure_head(head, validation)
    fit_network(head, rows, recipe.head, progress("train head", steps(len(rows.derived), recipe.head)))
    fit_intent(head, rows, recipe.head)
    latest = splits[-1].inputs
    fit_user_vector(head, latest.history, latest.window, latest.bought & latest.novel)
    round_to_half(head)
    calibrate(head, validation)
    work.save_head(head, tables)
    save_handover(work, samples, head)
    figures = {
        "continued_from": previous["version"],
        "weeks": [split.day.isoformat() for split in splits],
        "rows": len(rows.derived),
        "recipe": asdict(recipe),
        "validation_before": before,
        "validation": measure_head(head, validation),
    }
    work.save_json("train", figures)
    _export(work, samples, head, previous)
    return figures


def measure_predecessor(work: Workspace, repository: Path, progress: Progress) -> dict[str, Any]:
    """The manifest of the newest version with its figures on the newest samples in place of those of its own time."""
    samples, previous = work.samples(), read_manifest(repository)
    bundle = load_bundle(repository)
    head = onnx_head(onnx_file(repository, bundle.head))
    reader = SplitReader(samples, work.vectors())
    splits = [reader.read(day, held_out=True) for day in samples.calendar.tests]
    scores = {MODEL: [ask_head(head, split.inputs).scores for split in splits]}
    evaluation = {"variants": report(splits, scores, progress), "protocol": evaluation_protocol(samples)}
    return {"version": previous["version"], "evaluation": evaluation}


def require_same_interests(samples: Samples, manifest: Mapping[str, Any], repository: Path) -> None:
    """Pass samples of the interests of a version: the tensors of both are then the same.

    Raises:
        TrainerError: If they are others.
    """
    if samples.labels.hash != manifest["label_set_hash"]:
        raise TrainerError(
            f"the samples have {len(samples.labels)} interests that are not those of version {manifest['version']}: make "
            f"them again with `interestflow-trainer samples --interests-of {repository}`, or train a new version"
        )


def _keep_encoder(work: Workspace, samples: Samples, repository: Path) -> None:
    """Take the newest version's encoder into the run, and how it takes images, with the vectors of all texts."""
    bundle = load_bundle(repository)
    work.directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(onnx_file(repository, bundle.encoder), work.encoder_onnx)
    encoder, tokenizer = onnx_encoder(work.encoder_onnx), load_tokenizer(base_directory())
    texts = fused_texts(encode_texts(encoder, tokenizer, samples.texts), samples, bundle.fusion)
    keep_fusion(work.directory, bundle.fusion)
    # As the repository has them, which the worker reads.
    names = np.array(bundle.interest_vectors, dtype=np.float32)
    work.save_vectors(TextVectors(texts, names))


def _export(work: Workspace, samples: Samples, head: InterestHead, previous: Mapping[str, Any]) -> None:
    """Write the head, hold it against PyTorch, and keep what was found of the encoder when it was exported."""
    head.eval()
    export_head(head, len(samples.labels), work.head_onnx)
    probe = make_probe(samples, work.vectors(), load_tokenizer(base_directory()))
    onnx = onnx_head(work.head_onnx)
    gap = worst([compare(torch_head_outputs(head, x), onnx.run(x)) for x in probe.head])
    found = {HEAD: asdict(require_parity(gap, f"PyTorch and ONNX {HEAD}"))}
    earlier = previous.get("parity", {}).get("pytorch_onnx", {})
    work.save_json("export", {**({ENCODER: earlier[ENCODER]} if ENCODER in earlier else {}), **found})
