"""``interestflow-trainer cold``: what text adds where only text can, beside every model without it."""

from enum import StrEnum
from json import loads
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from trainer.cold.categories import score_held_out_categories
from trainer.cold.learner import LearnerRecipe
from trainer.cold.product_types import score_product_types
from trainer.cold.products import score_new_products
from trainer.cold.table import Questions, Said, Table, asked_of, cold_markdown, cold_table
from trainer.encoder import base_directory, encode, load_base, load_tokenizer
from trainer.errors import TrainerError
from trainer.looks import LOOKS, count_look
from trainer.models import models_of
from trainer.progress import Progress, shown
from trainer.rows import TextVectors
from trainer.samples import Samples
from trainer.samples_command import WORK, ArchiveOption, WorkOption
from trainer.workspace import Workspace, write_json

_CONSOLE: Final = Console(stderr=True)
#: Of few candidates trees learn the names by heart unless they are small; of many pairs few are bought.
_RECIPES: Final = {
    "categories": LearnerRecipe(leaves=7, least_rows=1000),
    "product-types": LearnerRecipe(least_rows=200, thinning=16),
    "products": LearnerRecipe(leaves=15, least_rows=300, thinning=30),
}
#: Where only *all* is asked: of a category that the shop never sold nobody has a history.
_VARIANTS: Final = {"categories": ("all",), "product-types": ("all", "novel8", "never")}


class _Task(StrEnum):
    CATEGORIES = "categories"
    PRODUCT_TYPES = "product-types"
    PRODUCTS = "products"


class _Cutoff(StrEnum):
    TEST = "test"
    VALIDATION = "validation"


def cold(
    work: WorkOption = WORK,
    archive: ArchiveOption = None,
    types: Annotated[
        Path | None,
        typer.Option("--types-work", help="Work directory with samples of product types, for that task."),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(help="Use the encoder published there, but for held-out categories, which it has seen."),
    ] = None,
    tasks: Annotated[list[_Task] | None, typer.Option("--task", help="Only these; else all.")] = None,
    cutoff: Annotated[
        _Cutoff, typer.Option(help="Choices are made on validation; each look at test is counted.")
    ] = _Cutoff.VALIDATION,
    page: Annotated[Path | None, typer.Option(help="Write the table there, as Markdown.")] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write the figures there, after each task; tasks that it has are not asked again."
        ),
    ] = None,
) -> None:
    """Held-out categories, product types and new products, scored with and without text."""
    workspace, held_out = Workspace(work), cutoff is _Cutoff.TEST
    events = archive or workspace.journey_archive
    found = _asked_before(json, cutoff)
    left = [task for task in tasks or list(_Task) if task.value not in found]
    figures: dict[str, Any] = {"cutoff": cutoff.value, "tasks": found}
    if held_out and left:
        figures["test_looks"] = count_look(work / LOOKS, "interestflow-trainer cold --cutoff test")
    with shown(_CONSOLE) as progress:
        for task in left:
            given = _read(task, workspace, types, repository)
            found[task.value] = cold_table(*_ask(task, given, events, progress, held_out=held_out))
            if json is not None:
                write_json(json, figures)
    text = cold_markdown(found)
    if page is not None:
        page.write_text(text, encoding="utf-8")
    print(text)


def _asked_before(json: Path | None, cutoff: _Cutoff) -> dict[str, Table]:
    """The tables that a file of figures has of a cutoff.

    Raises:
        TrainerError: If its figures are of another cutoff.
    """
    if json is None or not json.exists():
        return {}
    document = loads(json.read_text(encoding="utf-8"))
    if document["cutoff"] != cutoff.value:
        raise TrainerError(
            f"{json} has figures of {document['cutoff']}, and {cutoff.value} is asked for: name another file"
        )
    tasks: dict[str, Table] = document["tasks"]
    return tasks


def _ask(
    task: _Task, given: tuple[Samples, TextVectors], events: Path, progress: Progress, *, held_out: bool
) -> tuple[Questions, Said]:
    recipe = _RECIPES[task.value]
    if task is _Task.PRODUCTS:
        cutoffs, said = score_new_products(*given, events, recipe, progress, held_out=held_out)
        return {"all": cutoffs}, said
    score = score_held_out_categories if task is _Task.CATEGORIES else score_product_types
    splits, said = score(*given, recipe, progress, held_out=held_out)
    return asked_of(splits, _VARIANTS[task.value]), said


def _read(
    task: _Task, work: Workspace, types: Path | None, repository: Path | None
) -> tuple[Samples, TextVectors]:
    place = work
    if task is _Task.PRODUCT_TYPES:
        if types is None:
            raise TrainerError(
                "product types need samples of their own: `interestflow-trainer samples --interest-level 3 --min-buyers 30 "
                "--work DIR`, then --types-work DIR"
            )
        place = Workspace(types)
    samples = place.samples()
    if repository is None or task is _Task.CATEGORIES:
        return samples, _base_vectors(samples)
    return samples, models_of(place, repository).vectors


def _base_vectors(samples: Samples) -> TextVectors:
    """Vectors by the encoder as its makers published it, which never saw this shop."""
    directory = base_directory()
    encoder, tokenizer = load_base(directory), load_tokenizer(directory)
    texts, names = (encode(encoder, tokenizer, given) for given in (samples.texts, samples.labels.names))
    return TextVectors(texts, names)
