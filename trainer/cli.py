"""``interestflow-trainer``: recorded events in, a published model version out.

``make`` runs every stage; each stage can also be run alone on the work directory that the earlier ones filled.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import transformers
import typer
from rich.console import Console

from stream.clock import SystemClock
from stream.embedded.stub_environment import stub_python
from stream.errors import FatalError
from trainer.capacity import require_memory
from trainer.card import card as model_card
from trainer.card import parity_table
from trainer.cold.cli import cold
from trainer.distill_cli import distill_command
from trainer.engines_cli import half, openvino
from trainer.errors import TrainerError
from trainer.evaluate import put_table
from trainer.evaluate_cli import GroupsOption, evaluate
from trainer.events.cli import events
from trainer.explain.cli import explain
from trainer.gates import parse_forced, trial_run
from trainer.learning_curve import learning_curve
from trainer.model_config import SERVED_VERSIONS
from trainer.models import models_of
from trainer.plain.cli import app as plain
from trainer.progress import Pace, Progress, shown
from trainer.publish import Retention, read_manifest
from trainer.published_parity import published_parity
from trainer.recipe import Recipe, parse_settings
from trainer.release import publish_version
from trainer.samples_command import WORK, ArchiveOption, ImagesOption, WorkOption, make_samples, samples
from trainer.search.cli import app as search
from trainer.stages import EvaluationChoice, ad_response, run_evaluation
from trainer.stages import export as export_stage
from trainer.telling import tell
from trainer.tracking import NONE, Tracking, Untracked, tracked
from trainer.train import forget_run, train_encoder, train_head
from trainer.unsupervised.cluster_cli import clusters_app, user_vectors
from trainer.unsupervised.contrast_cli import contrast_command
from trainer.unsupervised.pretrain_cli import pretrain_command
from trainer.upkeep_cli import drift, update
from trainer.workspace import Workspace, make_repeatable

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(events, name="events")
app.add_typer(samples, name="samples")
app.command()(user_vectors)
app.command()(evaluate)
app.command()(explain)
app.command()(cold)
app.add_typer(clusters_app, name="clusters")
app.add_typer(plain, name="plain")
app.add_typer(search, name="search")
app.command("pretrain")(pretrain_command)
app.command("contrast")(contrast_command)
app.command("distill")(distill_command)
app.command()(half)
app.command()(openvino)
app.command()(drift)
app.command()(update)
_CONSOLE = Console(stderr=True)
_CLOCK = SystemClock()


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
_Quick = Annotated[
    bool, typer.Option("--quick", help="See in minutes that everything runs; far too short for a good model.")
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=NUMBER", help="A setting of the training, as head.learning_rate=0.003."
    ),
]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the encoder where a killed run of the same stood.")
]
_OUT = Path("triton_models")
_STUB = stub_python(os.environ)
_UNTRACKED = Untracked()


@app.command()
def train(
    work: WorkOption = WORK,
    quick: _Quick = False,
    changed: _Set = None,
    report_to: Annotated[str, typer.Option(help="tensorboard, wandb, mlflow or none.")] = NONE,
    resume: _Resume = False,
    json: _Json = None,
) -> None:
    """Fine-tune the encoder and train the head."""
    workspace, settings = Workspace(work), parse_settings(changed or [])
    recipe = _recipe(quick=quick).with_settings(settings)
    with shown(_CONSOLE) as progress, tracked(report_to, work / "tracking", recipe.settings()) as tracking:
        pace = Pace(progress)
        figures = _train(workspace, recipe, pace, settings, tracking, resume=resume)
    forget_run(workspace)
    tell({**figures, "steps_per_second": pace.per_second()}, json)


@app.command()
def export(work: WorkOption = WORK, json: _Json = None) -> None:
    """Write both ONNX files, hold them against PyTorch and fit the ad response."""
    tell(_export(Workspace(work), Recipe()), json)


@app.command("learning-curve")
def learning_curve_command(
    work: WorkOption = WORK,
    shares: Annotated[str, typer.Option(help="Percentages of the users to learn from.")] = "5,10,25,50,100",
    quick: _Quick = False,
    json: _Json = None,
) -> None:
    """Train on growing shares of the users, and judge on the held-out ones of the validation month."""
    try:
        percentages = [float(share) for share in shares.split(",")]
    except ValueError as error:
        raise TrainerError(f"{shares!r} is no list of percentages: write them as 5,10,25") from error
    with shown(_CONSOLE) as progress:
        curve = learning_curve(Workspace(work), percentages, _recipe(quick=quick), progress)
    tell({"curve": curve}, json)


@app.command()
def publish(
    *,
    work: WorkOption = WORK,
    out: _Out = _OUT,
    stub: _Stub = _STUB,
    keep: _Keep = SERVED_VERSIONS,
    pinned: _Pinned = None,
    force: _Force = None,
    quick: _Quick = False,
    json: _Json = None,
) -> None:
    """Serve the version with a real Triton, and publish it if that says the same and no gate is failed."""
    workspace, retention = Workspace(work), Retention(keep, frozenset(pinned or ()))
    recipe = _recipe(quick=quick).with_settings(workspace.json("train").get("settings", {}))
    waived = trial_run(workspace.json("evaluate")) if quick else {}
    forced = {**waived, **parse_forced(force or [])}
    found = publish_version(workspace, out, stub, recipe, forced, retention)
    tell(found, json)
    _say(found)


@app.command()
def parity(
    repository: Annotated[Path, typer.Option(help="The model repository.")] = _OUT,
    stub: _Stub = _STUB,
    json: _Json = None,
) -> None:
    """Serve a published repository with a real Triton and hold its newest version against ONNX Runtime."""
    found = published_parity(repository, stub)
    tell(found, json)
    _say_parity(found)


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
def make(
    work: WorkOption = WORK,
    archive: ArchiveOption = None,
    out: _Out = _OUT,
    stub: _Stub = _STUB,
    changed: _Set = None,
    images: ImagesOption = None,
    groups: GroupsOption = None,
    resume: _Resume = False,
    json: _Json = None,
) -> None:
    """Every stage, from the data to the published version."""
    workspace, settings = Workspace(work), parse_settings(changed or [])
    recipe = Recipe().with_settings(settings)
    began = _CLOCK.monotonic_seconds()
    make_samples(workspace, archive, images=images)
    with shown(_CONSOLE) as progress:
        figures: dict[str, Any] = {"train": _train(workspace, recipe, progress, settings, resume=resume)}
    figures["export"] = _export(workspace, recipe)
    with shown(_CONSOLE) as progress:
        choice = EvaluationChoice(bar_only=True, groups=groups)
        figures["evaluate"], _ = run_evaluation(
            workspace, models_of(workspace), recipe.rivals, choice, progress
        )
    figures["publish"] = publish_version(workspace, out, stub, recipe, forced={})
    forget_run(workspace)
    figures["seconds"] = round(_CLOCK.monotonic_seconds() - began, 1)
    tell(figures, json)
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


def _recipe(*, quick: bool) -> Recipe:
    return Recipe.quick() if quick else Recipe()


def _train(
    work: Workspace,
    recipe: Recipe,
    progress: Progress,
    settings: dict[str, float],
    tracking: Tracking = _UNTRACKED,
    *,
    resume: bool = False,
) -> dict[str, Any]:
    require_memory(work.samples())
    figures = {
        "settings": settings,
        "encoder": train_encoder(work, recipe.encoder, progress, tracking, resume=resume),
        "head": train_head(work, recipe.head, progress, tracking),
    }
    for name in ("encoder", "head"):
        tracking.figures(name, figures[name])
    work.save_json("train", figures)
    return figures


def _export(work: Workspace, recipe: Recipe) -> dict[str, Any]:
    parity = export_stage(work, recipe.head)
    work.save_json("export", parity)
    response = ad_response(work.samples(), models_of(work))
    work.save_json("ads", response)
    return {"pytorch_onnx": parity, "ad_response": response}


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


if __name__ == "__main__":
    main()
