"""``interestflow-trainer pretrain masked|next``."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from trainer.errors import TrainerError
from trainer.models import published_vectors
from trainer.progress import shown
from trainer.samples import Samples
from trainer.telling import tell
from trainer.unsupervised.behaviour_network import ENCODERS
from trainer.unsupervised.pretrain import OBJECTIVES, Lesson, PretrainRecipe, pretrain
from trainer.unsupervised.pretrain_score import ask, score
from trainer.unsupervised.sequences import padded, read_fit_windows, text_interests
from trainer.workspace import Workspace, make_repeatable

_CONSOLE = Console(stderr=True)
#: Fit cutoffs are weekly, and a window changes little in a week.
EVERY = 4
_USUAL = PretrainRecipe()


def pretrain_command(
    objective: Annotated[str, typer.Argument(help=f"What is guessed: {' or '.join(OBJECTIVES)}.")],
    work: Annotated[Path, typer.Option(help="With the samples; runs are kept in pretrain/ below it.")] = Path(
        "data/trainer"
    ),
    repository: Annotated[
        Path, typer.Option(help="The model repository whose encoder says what texts mean.")
    ] = Path("triton_models"),
    encoder: Annotated[str, typer.Option(help=f"{', '.join(ENCODERS)}.")] = _USUAL.encoder,
    steps: Annotated[int, typer.Option(min=1, help="Batches at most.")] = _USUAL.steps,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from where a killed run stood.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Teach a network to guess behaviours from those around them, and score it on the validation month beside counters."""
    recipe = PretrainRecipe(_known(objective, OBJECTIVES), _known(encoder, ENCODERS), steps, seed=seed)
    make_repeatable(threads)
    samples = Workspace(work).samples()
    lesson = read_lesson(samples, repository)
    path = work / "pretrain" / f"{objective}-{encoder}-{seed}.pt"
    with shown(_CONSOLE) as progress:
        advance = progress(f"pre-train {objective} {encoder}", steps)
        network, figures = pretrain(lesson, recipe, path, resume=resume, advance=advance)
    calendar, places = samples.calendar, lesson.sequences.texts.shape[1]
    before, asked = (ask(samples, day, places) for day in (calendar.fit_cutoffs()[-1], calendar.validation))
    figures |= {"validation": score(network, before, asked)}
    tell(figures, json)


def read_lesson(samples: Samples, repository: Path) -> Lesson:
    """Windows at every fourth fit cutoff of the households that may be learnt from."""
    households, windows = read_fit_windows(samples, EVERY)
    places = samples.snapshot(samples.calendar.validation).window_texts.shape[1]
    return Lesson(
        sequences=padded(households, windows, places),
        vectors=torch.from_numpy(published_vectors(samples.texts, repository)),
        interests=text_interests(samples),
        labels=len(samples.labels),
    )


def _known(name: str, names: tuple[Any, ...]) -> Any:
    if name not in names:
        raise TrainerError(f"{name!r} is not known here: choose one of {', '.join(names)}")
    return name
