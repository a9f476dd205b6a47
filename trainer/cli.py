"""``interestflow-trainer``: recorded events in, a published model version out.

``make`` runs every stage; each stage can also be run alone on the work directory that the earlier ones filled.
"""

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import transformers
import typer
from rich.console import Console

from stream.clock import SystemClock
from stream.embedded.stub_environment import stub_python
from stream.errors import FatalError
from stream.model.repository import load_bundle
from trainer.card import card as model_card
from trainer.card import parity_table
from trainer.evaluate import markdown, put_table
from trainer.gates import parse_forced
from trainer.half import ENGINE_SCRIPT, HALF, HALF_TOLERANCE, engine_script, require_close, save_half
from trainer.model_config import SERVED_VERSIONS
from trainer.progress import shown
from trainer.publish import Retention, read_manifest
from trainer.published_parity import half_parity, onnx_file, published_parity
from trainer.recipe import Recipe
from trainer.record import write_samples
from trainer.release import publish_version
from trainer.stages import ad_response, evaluation_protocol
from trainer.stages import evaluate as evaluate_stage
from trainer.stages import export as export_stage
from trainer.train import train_encoder, train_head
from trainer.workspace import Workspace, make_repeatable, write_json

#: Recorded events up to the end of the test labels; only the bar needs it.
_EVENTS = 215_000

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
_CONSOLE = Console(stderr=True)
_CLOCK = SystemClock()

_Work = Annotated[Path, typer.Option(help="Where stages leave their results; some 0.6 GB.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]
_Out = Annotated[Path, typer.Option(help="The Triton model repository to publish into.")]
_Stub = Annotated[
    Path,
    typer.Option(
        "--stub-python", help="Interpreter of the Triton stub environment (numpy below 2, nvidia-pytriton)."
    ),
]
_Keep = Annotated[
    int,
    typer.Option(min=SERVED_VERSIONS, help="So many of the newest versions stay, the new one among them."),
]
_Pinned = Annotated[
    list[int] | None,
    typer.Option(help="A version that scores users now (`interestflow model status`): it must stay served."),
]
_Force = Annotated[
    list[str] | None, typer.Option(metavar="GATE=WHY", help="Publish although this gate is failed; recorded.")
]
_WORK = Path("data/trainer")
_OUT = Path("triton_models")
_STUB = stub_python(os.environ)


@app.command()
def samples(work: _Work = _WORK, json: _Json = None) -> None:
    """Fold the recorded events and write what was known of each household at each cutoff."""
    _tell(_samples(Workspace(work)), json)


@app.command()
def train(work: _Work = _WORK, json: _Json = None) -> None:
    """Fine-tune the encoder and train the head."""
    _tell(_train(Workspace(work), Recipe()), json)


@app.command()
def export(work: _Work = _WORK, json: _Json = None) -> None:
    """Write both ONNX files, hold them against PyTorch and fit the ad response."""
    _tell(_export(Workspace(work), Recipe()), json)


@app.command()
def evaluate(
    work: _Work = _WORK,
    json: _Json = None,
    repository: Annotated[
        Path | None, typer.Option(help="Evaluate the published version there, not the run's own.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Put the table between this page's markers.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Add gradient boosting with live counts of all users.")
    ] = False,
) -> None:
    """Rank the held-out households' test month with the head and its baselines."""
    found = _evaluate(Workspace(work), Recipe(), repository=repository, live=live)
    if page is not None:
        given = " ".join(["interestflow-trainer", "evaluate", *_flags(repository, live=live)])
        put_table(page, markdown(found["variants"], found["intent"], given))
    _tell(found["variants"], json)


@app.command()
def publish(  # noqa: PLR0913 - one argument per option
    *,
    work: _Work = _WORK,
    out: _Out = _OUT,
    stub: _Stub = _STUB,
    keep: _Keep = SERVED_VERSIONS,
    pinned: _Pinned = None,
    force: _Force = None,
    json: _Json = None,
) -> None:
    """Serve the version with a real Triton, and publish it if that says the same and no gate is failed."""
    retention = Retention(keep, frozenset(pinned or ()))
    found = publish_version(Workspace(work), out, stub, Recipe(), parse_forced(force or []), retention)
    _tell(found, json)
    _say(found)


@app.command()
def parity(
    repository: Annotated[Path, typer.Option(help="The model repository.")] = _OUT,
    stub: _Stub = _STUB,
    json: _Json = None,
) -> None:
    """Serve a published repository with a real Triton and hold its newest version against ONNX Runtime."""
    found = published_parity(repository, stub)
    _tell(found, json)
    _say_parity(found)


@app.command()
def half(
    out: Annotated[
        Path, typer.Argument(help="Directory for the fp16 encoder and the TensorRT build script.")
    ],
    repository: Annotated[Path, typer.Option(help="The model repository.")] = _OUT,
    json: _Json = None,
) -> None:
    """Write the newest encoder with fp16 computations, for a GPU, and hold it against fp32 on this CPU."""
    out.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(repository)
    save_half(onnx_file(repository, bundle.encoder), out / HALF)
    gap = half_parity(repository, out / HALF)
    _tell({"version": bundle.encoder.version, "fp32_fp16": asdict(gap), "tolerance": HALF_TOLERANCE}, json)
    require_close(gap)
    (out / ENGINE_SCRIPT).write_text(engine_script(), encoding="utf-8")


@app.command()
def card(
    repository: Annotated[Path, typer.Option(help="The model repository.")] = _OUT,
    version: Annotated[
        int | None, typer.Option(min=1, help="Of interest_head; the newest if not given.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Put the card between this page's markers.")] = None,
) -> None:
    """Print the model card of a published version."""
    text = model_card(read_manifest(repository, version))
    if page is not None:
        put_table(page, text)
    typer.echo(text)


@app.command()
def make(work: _Work = _WORK, out: _Out = _OUT, stub: _Stub = _STUB, json: _Json = None) -> None:
    """Every stage, from the data to the published version; about 15 minutes on one core."""
    workspace, recipe = Workspace(work), Recipe()
    began = _CLOCK.monotonic_seconds()
    _samples(workspace)
    figures: dict[str, Any] = {"train": _train(workspace, recipe), "export": _export(workspace, recipe)}
    figures["evaluate"] = _evaluate(workspace, recipe, repository=None, live=False)
    figures["publish"] = publish_version(workspace, out, stub, recipe, recipe.shortfalls)
    figures["seconds"] = round(_CLOCK.monotonic_seconds() - began, 1)
    _tell(figures, json)
    _say(figures["publish"])


def main() -> None:
    """Run the command line; a known error is one sentence and exit code 1."""
    make_repeatable(threads=Recipe().threads)
    _quieten()
    try:
        app()
    except FatalError as error:
        _CONSOLE.print(f"error: {error}", markup=False)
        sys.exit(1)


def _quieten() -> None:
    """Leave out what the libraries tell of each load and export; their errors stay."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def _samples(work: Workspace) -> dict[str, Any]:
    with shown(_CONSOLE) as progress:
        made = write_samples(work.samples_directory, progress("fold events", _EVENTS))
    return {"households": len(made.households), "interests": len(made.labels), "texts": len(made.texts)}


def _train(work: Workspace, recipe: Recipe) -> dict[str, Any]:
    with shown(_CONSOLE) as progress:
        figures = {
            "encoder": train_encoder(work, recipe.encoder, progress),
            "head": train_head(work, recipe.head, progress),
        }
    work.save_json("train", figures)
    return figures


def _export(work: Workspace, recipe: Recipe) -> dict[str, Any]:
    parity = export_stage(work, recipe.head)
    work.save_json("export", parity)
    response = ad_response(work)
    work.save_json("ads", response)
    return {"pytorch_onnx": parity, "ad_response": response}


def _evaluate(work: Workspace, recipe: Recipe, *, repository: Path | None, live: bool) -> dict[str, Any]:
    with shown(_CONSOLE) as progress:
        found, intent = evaluate_stage(work, recipe.boosting, progress, repository=repository, live=live)
    figures = {"variants": found, "intent": intent}
    if repository is None:
        told = {"protocol": evaluation_protocol(work.samples()), "onnx_sha256": work.onnx_sha256()}
        work.save_json("evaluate", {**figures, **told})
    return figures


def _flags(repository: Path | None, *, live: bool) -> list[str]:
    return [*(["--repository", str(repository)] if repository else []), *(["--live"] if live else [])]


def _say(published: dict[str, Any]) -> None:
    """What a publication changed, in words."""
    gone = "".join(f", removed version {number}" for number in published["removed"])
    _CONSOLE.print(
        f"wrote version {published['version']} into {published['repository']} "
        f"({published['total_bytes'] / 1e6:.1f} MB){gone}",
        markup=False,
    )
    _say_parity(published["parity"])


def _say_parity(found: dict[str, Any]) -> None:
    """The largest differences between the runtimes, as a table."""
    pairs = {name: models for name, models in found.items() if "_" in name}
    _CONSOLE.print("\n".join(parity_table(pairs)), markup=False, soft_wrap=True)


def _tell(figures: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        write_json(path, figures)
    Console().print_json(data=figures)


if __name__ == "__main__":
    main()
