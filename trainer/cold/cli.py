"""``interestflow-trainer cold``: what text adds where only text can, beside every model without it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from trainer.cold.categories import score_held_out_categories
from trainer.cold.learner import LearnerRecipe
from trainer.cold.product_types import score_product_types
from trainer.cold.table import Table, cold_markdown, cold_table
from trainer.encoder import base_directory, encode, load_base, load_tokenizer
from trainer.errors import TrainerError
from trainer.looks import LOOKS, count_look
from trainer.progress import shown
from trainer.rows import TextVectors
from trainer.samples import Samples
from trainer.samples_command import WORK, WorkOption
from trainer.stages import head_and_vectors
from trainer.workspace import Workspace, write_json

_CONSOLE: Final = Console(stderr=True)
#: Where only *all* is asked: of a category that the shop never sold nobody has a history.
_VARIANTS: Final = {"categories": ("all",), "product-types": ("all", "novel8", "never")}


class _Task(StrEnum):
    CATEGORIES = "categories"
    PRODUCT_TYPES = "product-types"


_SCORE: Final = {
    _Task.CATEGORIES: score_held_out_categories,
    _Task.PRODUCT_TYPES: score_product_types,
}


class _Cutoff(StrEnum):
    TEST = "test"
    VALIDATION = "validation"


def cold(
    work: WorkOption = WORK,
    types: Annotated[
        Path | None,
        typer.Option("--types-work", help="Work directory with samples of product types, for that task."),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(help="Read product types with the encoder published there; categories never are."),
    ] = None,
    tasks: Annotated[list[_Task] | None, typer.Option("--task", help="Only these; else all.")] = None,
    cutoff: Annotated[
        _Cutoff, typer.Option(help="Choices are made on validation; each look at test is counted.")
    ] = _Cutoff.VALIDATION,
    page: Annotated[Path | None, typer.Option(help="Write the table there, as Markdown.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Held-out categories and product types, scored with and without text."""
    workspace, held_out = Workspace(work), cutoff is _Cutoff.TEST
    found: dict[str, Table] = {}
    with shown(_CONSOLE) as progress:
        for task in tasks or list(_Task):
            samples, vectors = _read(task, workspace, types, repository)
            splits, said = _SCORE[task](samples, vectors, LearnerRecipe(), progress, held_out=held_out)
            found[task.value] = cold_table(splits, said, _VARIANTS[task.value])
    figures: dict[str, Any] = {"cutoff": cutoff.value, "tasks": found}
    if held_out:
        figures["test_looks"] = count_look(work / LOOKS, "interestflow-trainer cold --cutoff test")
    text = cold_markdown(found)
    if page is not None:
        page.write_text(text, encoding="utf-8")
    if json is not None:
        write_json(json, figures)
    print(text)


def _read(
    task: _Task, work: Workspace, types: Path | None, repository: Path | None
) -> tuple[Samples, TextVectors]:
    if task is _Task.CATEGORIES:
        return work.samples(), _base_vectors(work.samples())
    if types is None:
        raise TrainerError(
            "product types need samples of their own: `interestflow-trainer samples --interest-level 3 --min-buyers 30 --work "
            "DIR`, then --types-work DIR"
        )
    other = Workspace(types)
    if repository is None:
        return other.samples(), _base_vectors(other.samples())
    return other.samples(), head_and_vectors(other, repository)[1]


def _base_vectors(samples: Samples) -> TextVectors:
    """Vectors by the encoder as its makers published it, which never saw this shop."""
    directory = base_directory()
    encoder, tokenizer = load_base(directory), load_tokenizer(directory)
    texts, names = (encode(encoder, tokenizer, given) for given in (samples.texts, samples.labels.names))
    return TextVectors(texts, names)
