"""``interestflow-trainer half`` and ``openvino``: the published encoder for engines that it is not shipped for."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from stream.model.repository import load_bundle
from trainer.half import ENGINE_SCRIPT, HALF, HALF_TOLERANCE, engine_script, require_close, save_half
from trainer.published_parity import half_parity, onnx_file
from trainer.telling import tell

_REPOSITORY: Final = Path("triton_models")
_Repository = Annotated[Path, typer.Option(help="The model repository.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]


def half(
    out: Annotated[
        Path, typer.Argument(help="Directory for the fp16 encoder and the TensorRT build script.")
    ],
    repository: _Repository = _REPOSITORY,
    json: _Json = None,
) -> None:
    """Write the newest encoder with fp16 computations, for a GPU, and hold it against fp32 on this CPU."""
    out.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(repository)
    save_half(onnx_file(repository, bundle.encoder), out / HALF)
    gap = half_parity(repository, out / HALF)
    tell({"version": bundle.encoder.version, "fp32_fp16": asdict(gap), "tolerance": HALF_TOLERANCE}, json)
    require_close(gap)
    (out / ENGINE_SCRIPT).write_text(engine_script(), encoding="utf-8")


def openvino(
    out: Annotated[
        Path, typer.Argument(help="Directory for the files, laid out as in a model repository; may be one.")
    ],
    repository: _Repository = _REPOSITORY,
    json: _Json = None,
) -> None:
    """Write the newest encoder for OpenVINO on a CPU, with its config for Triton, and hold it against ONNX Runtime."""
    from trainer.openvino_ir import write_openvino  # noqa: PLC0415 - every command starts this file, one needs OpenVINO

    tell(write_openvino(repository, out), json)
