"""The last stage: a version is served by a real Triton in a trial repository, and published if that says the same."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainer.contract import ENCODER, HEAD
from trainer.encoder import base_directory, load_tokenizer
from trainer.parity import (
    MIN_TOP10_AGREEMENT,
    SCORE_TOLERANCE,
    VECTOR_TOLERANCE,
    Disagreement,
    OnnxModel,
    compare,
    onnx_encoder,
    onnx_head,
    require_parity,
)
from trainer.probe import Probe, make_probe, worst
from trainer.publish import Version, publish
from trainer.recipe import Recipe
from trainer.served import ServedModels, served
from trainer.workspace import Workspace


def publish_version(
    work: Workspace, out: Path, stub_python: Path, recipe: Recipe, number: int = 1
) -> dict[str, Any]:
    """Publish what the stages made, after a real Triton has served it; sizes and parity.

    Raises:
        ParityError: If Triton says something else than ONNX Runtime; nothing is written then.
    """
    samples, base = work.samples(), base_directory()
    tokenizer = load_tokenizer(base)
    parity = {
        "pytorch_onnx": work.json("export"),
        "tolerance": {"vectors": VECTOR_TOLERANCE, "scores": SCORE_TOLERANCE, "top10": MIN_TOP10_AGREEMENT},
    }
    evaluation = work.json("evaluate")
    trained = work.json("train")
    record = {
        "data": samples.data,
        "recipe": {**recipe.document(), "calendar": samples.calendar.document(), "figures": trained},
        "parity": parity,
        "evaluation": evaluation,
    }
    version = Version(
        number=number,
        encoder_onnx=work.encoder_onnx,
        head_onnx=work.head_onnx,
        tokenizer=base / "tokenizer.json",
        vocabulary=tokenizer.get_vocab_size(),
        labels=samples.labels,
        interest_vectors=work.vectors().names,
        record=record,
        ad_response=work.json("ads"),
    )
    with TemporaryDirectory(dir=work.directory) as trial:
        publish(Path(trial) / "models", version)
        probe = make_probe(samples, work.vectors(), tokenizer)
        parity.update(triton_parity(work, Path(trial) / "models", stub_python, probe))
    written = publish(out, version)
    return {"bytes": written, "total_bytes": sum(written.values()), "parity": parity}


def triton_parity(work: Workspace, repository: Path, stub_python: Path, probe: Probe) -> dict[str, Any]:
    """How far a real Triton is from ONNX Runtime: gated in fp32, reported with the engine of this machine.

    Raises:
        ParityError: If fp32 differs.
    """
    onnx = {ENCODER: onnx_encoder(work.encoder_onnx), HEAD: onnx_head(work.head_onnx)}
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


def _asked(triton: ServedModels, onnx: dict[str, OnnxModel], probe: Probe) -> dict[str, Disagreement]:
    requests = {ENCODER: probe.encoder, HEAD: probe.head}
    return {
        name: worst([compare(onnx[name].run(inputs), triton.run(name, inputs)) for inputs in requests[name]])
        for name in (ENCODER, HEAD)
    }
