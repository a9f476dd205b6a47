"""The last stage: a version is served by a real Triton in a trial repository, and published if that says the same."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from trainer.contract import ENCODER, HEAD
from trainer.encoder import base_directory, load_tokenizer
from trainer.errors import TrainerError
from trainer.gates import judge, require
from trainer.handover import handover_files
from trainer.images import kept_fusion
from trainer.parity import (
    Disagreement,
    OnnxModel,
    compare,
    onnx_encoder,
    onnx_head,
    require_parity,
    tolerance,
)
from trainer.probe import Probe, make_probe, worst
from trainer.publish import Retention, Version, newest_manifest, publish
from trainer.recipe import Recipe
from trainer.served import ServedModels, served
from trainer.workspace import Workspace

#: Of an update: version and evaluation of what it went on from, on the update's samples.
PREDECESSOR: Final = "predecessor"


def publish_version(
    work: Workspace,
    out: Path,
    stub_python: Path,
    recipe: Recipe,
    forced: Mapping[str, str],
    retention: Retention | None = None,
) -> dict[str, Any]:
    """Publish what the stages made, after a real Triton has served it; number, sizes, gates and parity.

    Raises:
        TrainerError: If it was not evaluated as it is now.
        GateError: If it is below a gate that is not forced; nothing is written then.
        ParityError: If Triton says something else than ONNX Runtime; nothing is written then.
        ExportError: See ``publish``.
    """
    samples, base = work.samples(), base_directory()
    tokenizer = load_tokenizer(base)
    evaluation = _evaluation(work)
    verdict = require(judge(evaluation, _predecessor(work, out)), forced)
    parity: dict[str, Any] = {"pytorch_onnx": work.json("export"), "tolerance": tolerance()}
    record = {
        "data": samples.data,
        "recipe": {
            **recipe.document(),
            "calendar": samples.calendar.document(),
            "figures": work.json("train"),
        },
        "parity": parity,
        "evaluation": evaluation,
        "gates": verdict.document(),
    }
    version = Version(
        encoder_onnx=work.encoder_onnx,
        head_onnx=work.head_onnx,
        tokenizer=base / "tokenizer.json",
        vocabulary=tokenizer.get_vocab_size(),
        labels=samples.labels,
        interest_vectors=work.vectors().names,
        record=record,
        ad_response=work.json("ads"),
        handover=handover_files(work),
        fusion=kept_fusion(work.directory),
    )
    with TemporaryDirectory(dir=work.directory) as trial:
        publish(Path(trial) / "models", version)
        probe = make_probe(samples, work.vectors(), tokenizer)
        onnx = {ENCODER: onnx_encoder(work.encoder_onnx), HEAD: onnx_head(work.head_onnx)}
        parity.update(triton_parity(onnx, Path(trial) / "models", stub_python, probe))
    published = publish(out, version, retention)
    return {
        "repository": str(out),
        "version": published.number,
        "removed": list(published.removed),
        "bytes": published.sizes,
        "total_bytes": sum(published.sizes.values()),
        "gates": verdict.document(),
        "parity": parity,
    }


def _predecessor(work: Workspace, out: Path) -> Mapping[str, Any] | None:
    """The manifest of the newest version, with its figures on the run's own samples if the run has them."""
    manifest = newest_manifest(out)
    measured = work.json(PREDECESSOR) if work.has_json(PREDECESSOR) else None
    if manifest is None or measured is None or measured["version"] != manifest["version"]:
        return manifest
    return {**manifest, "evaluation": measured["evaluation"]}


def _evaluation(work: Workspace) -> dict[str, Any]:
    """The evaluation of the exported files, not of earlier ones."""
    evaluation = work.json("evaluate")
    if evaluation.get("onnx_sha256") != work.onnx_sha256():
        raise TrainerError(
            f"the evaluation in {work.directory} is of other ONNX files than those there; run "
            f"`interestflow-trainer evaluate --work {work.directory}` again"
        )
    return evaluation


def triton_parity(
    onnx: Mapping[str, OnnxModel], repository: Path, stub_python: Path, probe: Probe
) -> dict[str, Any]:
    """How far a real Triton is from ONNX Runtime: gated in fp32, reported with the engine of this machine.

    Args:
        onnx: The models of the newest version, by name.
        repository: What Triton serves; it answers with the newest version.
        stub_python: Interpreter of Triton's stub.
        probe: What both are asked.

    Raises:
        ParityError: If fp32 differs.
    """
    with served(repository, stub_python, engine="fp32") as triton:
        exact = _asked(triton, onnx, probe)
    for name, gap in exact.items():
        require_parity(gap, f"ONNX and Triton {name}")
    with served(repository, stub_python, engine="") as triton:
        fast = _asked(triton, onnx, probe)
    return {
        "onnx_triton": {name: asdict(gap) for name, gap in exact.items()},
        "onnx_triton_default_engine": {name: asdict(gap) for name, gap in fast.items()},
    }


def _asked(triton: ServedModels, onnx: Mapping[str, OnnxModel], probe: Probe) -> dict[str, Disagreement]:
    requests = {ENCODER: probe.encoder, HEAD: probe.head}
    return {
        name: worst([compare(onnx[name].run(inputs), triton.run(name, inputs)) for inputs in requests[name]])
        for name in (ENCODER, HEAD)
    }
