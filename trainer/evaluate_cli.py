"""``interestflow-trainer evaluate``: the head beside its baselines, as JSON, as a page's table and as a report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.evaluate import markdown, put_table
from trainer.models import models_of
from trainer.progress import shown
from trainer.recipe import Recipe
from trainer.report.stage import ReportChoice, write_report
from trainer.samples_command import WORK, WorkOption
from trainer.stages import EvaluationChoice, run_evaluation
from trainer.telling import tell
from trainer.workspace import Workspace

GroupsOption = Annotated[
    Path | None, typer.Option("--groups", help="CSV with user_id and one column per attribute, for fairness.")
]


class _Cutoff(StrEnum):
    TEST = "test"
    VALIDATION = "validation"


def evaluate(
    work: WorkOption = WORK,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Evaluate the published version there, not the run's own.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Put the table between this page's markers.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Add gradient boosting with live counts of all users.")
    ] = False,
    plain: Annotated[
        str, typer.Option(metavar="NAME", help="Add this run of `plain train` in the work directory.")
    ] = "",
    bar_only: Annotated[
        bool, typer.Option("--bar-only", help="Fit only the baseline that the gates ask for: much faster.")
    ] = False,
    cutoff: Annotated[
        _Cutoff,
        typer.Option(help="Validation is the month where choices are made; test is looked at rarely."),
    ] = _Cutoff.TEST,
    report: Annotated[
        Path | None, typer.Option(help="Write the report there: Markdown, one HTML file, plots and JSON.")
    ] = None,
    groups: GroupsOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Rivals that are fitted in seconds, to see that everything runs.")
    ] = False,
) -> None:
    """Rank the held-out households' test months with the head and its baselines."""
    workspace = Workspace(work)
    choice = EvaluationChoice(
        repository=repository,
        live=live,
        validation=cutoff is _Cutoff.VALIDATION,
        plain=work / "plain" / plain if plain else None,
        bar_only=bar_only,
        groups=groups,
    )
    recipe = Recipe.quick() if quick else Recipe()
    models = models_of(workspace, repository)
    with shown(Console(stderr=True)) as progress:
        found, evaluation = run_evaluation(workspace, models, recipe.rivals, choice, progress)
    if page is not None:
        put_table(page, markdown(evaluation.variants, evaluation.intent, choice.told()))
    if report is not None:
        write_report(
            workspace, evaluation, found, ReportChoice(report, choice.told(), models, choice.validation)
        )
    tell({**found.pop("variants"), **found}, json)
