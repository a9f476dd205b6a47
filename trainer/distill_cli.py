"""``interestflow-trainer distill``: a run of its own whose encoder is a smaller student of another run's."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from trainer.capacity import require_memory
from trainer.distill import DistillRecipe, distill
from trainer.errors import TrainerError
from trainer.progress import shown
from trainer.recipe import Recipe
from trainer.samples_command import WORK, WorkOption
from trainer.telling import tell
from trainer.train import train_head
from trainer.workspace import Workspace

_CONSOLE: Final = Console(stderr=True)
_USUAL: Final = DistillRecipe()


def distill_command(
    out: Annotated[Path, typer.Argument(help="Work directory of the student, on the same samples.")],
    work: WorkOption = WORK,
    layers: Annotated[
        int, typer.Option(help="So many of the teacher's layers, evenly spaced.")
    ] = _USUAL.layers,
    steps: Annotated[int, typer.Option(min=1, help="Batches that the student is shown.")] = _USUAL.fit.steps,
    seed: Annotated[int, typer.Option(help="Of the batches and the mixed texts.")] = _USUAL.fit.seed,
    quick: Annotated[
        bool, typer.Option("--quick", help="See that everything runs; far too short for a good model.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Teach a smaller encoder what the run's fine-tuned one says, and train a head on it; then export, evaluate, publish."""
    teacher = Workspace(work)
    student = student_of(teacher, out)
    require_memory(student.samples())
    settings: dict[str, float] = teacher.json("train").get("settings", {})
    run = (Recipe.quick() if quick else Recipe()).with_settings(settings)
    fit = replace(_USUAL.fit, steps=6 if quick else steps, seed=seed, image_weight=run.encoder.image_weight)
    recipe = replace(_USUAL, layers=layers, fit=fit)
    with shown(_CONSOLE) as progress:
        figures: dict[str, Any] = {
            "settings": settings,
            "encoder": distill(teacher, student, recipe, progress),
            "head": train_head(student, run.head, progress),
        }
    student.save_json("train", figures)
    tell(figures, json)


def student_of(teacher: Workspace, directory: Path) -> Workspace:
    """A work directory on the teacher's samples, which are linked, not copied.

    Raises:
        TrainerError: If it is the teacher's, or has other samples.
    """
    student, samples = Workspace(directory), teacher.samples_directory.resolve()
    if directory.resolve() == teacher.directory.resolve():
        raise TrainerError(f"{directory} is the teacher's work directory: give the student one of its own")
    directory.mkdir(parents=True, exist_ok=True)
    if not student.samples_directory.exists():
        student.samples_directory.symlink_to(samples)
    elif student.samples_directory.resolve() != samples:
        raise TrainerError(
            f"{student.samples_directory} are other samples than the teacher's: give another directory"
        )
    return student
