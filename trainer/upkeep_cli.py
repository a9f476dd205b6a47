"""``interestflow-trainer drift`` and ``update``: what a shop's schedule runs once a version is served."""

import os
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from stream.embedded.stub_environment import stub_python
from stream.model.repository import load_bundle
from trainer.contract import HEAD
from trainer.drift import Newest, drift_report, measure_drift, parse_limits
from trainer.drift_reference import REFERENCE, load_reference
from trainer.errors import TrainerError
from trainer.evaluate import ask_head, questions
from trainer.evaluate_cli import GroupsOption
from trainer.fit_head import HeadRecipe
from trainer.gates import parse_forced
from trainer.head_inputs import read_inputs
from trainer.model_config import SERVED_VERSIONS
from trainer.models import Models, models_of, published_models
from trainer.pooling import Asked, measure
from trainer.progress import Progress, shown
from trainer.publish import Retention
from trainer.recipe import Recipe
from trainer.release import PREDECESSOR, publish_version
from trainer.samples import Samples
from trainer.samples_command import WORK, WorkOption
from trainer.stages import EvaluationChoice, ad_response, run_evaluation
from trainer.telling import tell
from trainer.update import UpdateRecipe, measure_predecessor, update_head
from trainer.workspace import Workspace

_CONSOLE: Final = Console(stderr=True)
#: Of ``drift --exit-code``, if training again is worth it.
WORTH_IT: Final = 3
_COMMAND: Final = "interestflow-trainer update"
_USUAL: Final = UpdateRecipe()

_Repository = Annotated[Path, typer.Option(help="The model repository with the last version.")]
_Limit = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=NUMBER", help="A limit in place of the usual one (docs/updates.md)."),
]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]
_OUT: Final = Path("triton_models")


def drift(
    work: WorkOption = WORK,
    repository: _Repository = _OUT,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Take this cutoff of the samples for the newest."),
    ] = None,
    limit: _Limit = None,
    page: Annotated[
        Path | None, typer.Option("--report", help="Write the report there, as Markdown.")
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {WORTH_IT} if training again is worth it.")
    ] = False,
    json: _Json = None,
) -> None:
    """Hold the newest events against what the last version was trained on, and say whether training again is worth it."""
    with shown(_CONSOLE) as progress:
        found = _drift(Workspace(work), repository, day.date() if day else None, limit or [], progress)
    if page is not None:
        page.write_text("\n".join(drift_report(found)) + "\n", encoding="utf-8")
    tell(found, json)
    if exit_code and found["retrain"]:
        raise typer.Exit(WORTH_IT)


def update(
    *,
    work: WorkOption = WORK,
    repository: _Repository = _OUT,
    epochs: Annotated[int, typer.Option(min=1, help="Over the newest weeks.")] = _USUAL.head.epochs,
    weeks: Annotated[
        int, typer.Option(min=1, help="Learn from so many of the newest cutoffs.")
    ] = _USUAL.weeks,
    if_drifted: Annotated[
        bool, typer.Option("--if-drifted", help="Only if `drift` says that it is worth it.")
    ] = False,
    limit: _Limit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and judge on the validation month; publish nothing.")
    ] = False,
    stub: Annotated[
        Path, typer.Option("--stub-python", help="Interpreter of the Triton stub environment.")
    ] = stub_python(os.environ),  # noqa: B008 - typer shows it as the default
    keep: Annotated[
        int, typer.Option(min=SERVED_VERSIONS, help="So many of the newest versions stay.")
    ] = SERVED_VERSIONS,
    pinned: Annotated[list[int] | None, typer.Option(help="A version that scores users now.")] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="GATE=WHY", help="Publish although this gate is failed; recorded."),
    ] = None,
    groups: GroupsOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Far too short rivals, to see that it runs.")
    ] = False,
    json: _Json = None,
) -> None:
    """Train the last version's head on with the newest events, and publish it if it passes the gates."""
    workspace = Workspace(work)
    found: dict[str, Any] = {}
    with shown(_CONSOLE) as progress:
        if if_drifted:
            found["drift"] = _drift(workspace, repository, None, limit or [], progress)
            if not found["drift"]["retrain"]:
                tell({**found, "version": None}, json)
                return
        shape = HeadRecipe(epochs=epochs, learning_rate=_USUAL.head.learning_rate)
        found["train"] = update_head(workspace, repository, UpdateRecipe(shape, weeks), progress)
        if dry_run:
            tell({**found, "version": None}, json)
            return
        recipe = Recipe.quick() if quick else Recipe()
        choice = EvaluationChoice(bar_only=True, groups=groups, command=_COMMAND)
        _judge(workspace, repository, recipe, choice, progress)
    retention = Retention(keep, frozenset(pinned or ()))
    recorded = Recipe(head=shape, rivals=recipe.rivals, command=_COMMAND)
    forced = parse_forced(force or [])
    found["publish"] = publish_version(workspace, repository, stub, recorded, forced, retention)
    tell({**found, "version": found["publish"]["version"]}, json)


def _judge(
    work: Workspace, repository: Path, recipe: Recipe, choice: EvaluationChoice, progress: Progress
) -> None:
    """Evaluate the updated run over the test cutoffs, and its predecessor on the same."""
    models = models_of(work)
    work.save_json("ads", ad_response(work.samples(), models))
    run_evaluation(work, models, recipe.rivals, choice, progress)
    work.save_json(PREDECESSOR, measure_predecessor(work, repository, progress))


def _drift(
    work: Workspace, repository: Path, day: date | None, limits: list[str], progress: Progress
) -> dict[str, Any]:
    samples, bundle = work.samples(), load_bundle(repository)
    day = day or samples.calendar.tests[-1]
    if day not in samples.calendar.cutoffs():
        named = ", ".join(str(cutoff) for cutoff in samples.calendar.cutoffs())
        raise TrainerError(f"the samples have no cutoff on {day}: name one of {named}")
    reference = load_reference(repository / HEAD / bundle.head.version / REFERENCE)
    calibration = None
    if samples.labels.hash == bundle.label_set_hash:
        models = published_models(repository, bundle, samples, progress)
        calibration = _calibration(samples, models, day)
    newest = Newest(samples, day, frozenset(interest.name for interest in bundle.interests))
    return {
        "version": bundle.head.version,
        **measure_drift(reference, newest, parse_limits(limits), calibration),
    }


def _calibration(samples: Samples, models: Models, day: date) -> dict[str, float]:
    """What the published version says of the users to learn from, held against what they bought then."""
    inputs = read_inputs(samples, samples.purchases(), day, models.vectors.texts, held_out=False)
    scores = ask_head(models.head, inputs).scores
    question = questions(inputs)["all"]
    figures = measure([Asked(inputs.households, question)], [scores], probabilities=True)
    assert figures["ece"] is not None
    asked = question.candidates & question.active[:, None]
    expected = float(scores[asked].sum() / max(question.bought[asked].sum(), 1))
    return {"ece": figures["ece"], "expected_to_bought": expected}
