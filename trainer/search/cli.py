"""``interestflow-trainer search``: settings of a recipe that are better on the validation month than the usual ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from trainer.encoder import base_directory
from trainer.errors import TrainerError
from trainer.fit_head import HeadRecipe
from trainer.plain.fit import PlainRecipe
from trainer.plain.tuning import TUNINGS
from trainer.plain.window_text import split_rows
from trainer.progress import shown
from trainer.stages import evaluation_protocol
from trainer.telling import tell
from trainer.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help=__doc__)
_CONSOLE: Final = Console(stderr=True)
_WORK: Final = Path("data/trainer")
_HEAD: Final = HeadRecipe()
_PLAIN: Final = PlainRecipe()

_Work = Annotated[Path, typer.Option(help="With the samples; studies are kept in search/ below it.")]
_Trials = Annotated[int, typer.Option(min=1, help="In all, with those of a study that is gone on with.")]
_Seed = Annotated[int, typer.Option(min=0, help="Of the proposals and of each training.")]
_Name = Annotated[str, typer.Option(help="Of the study; a study of that name is gone on with.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]


@app.command()
def head(
    work: _Work = _WORK,
    trials: _Trials = 20,
    epochs: Annotated[int, typer.Option(min=1, help="Of a trial; each ends with a look.")] = _HEAD.epochs,
    cutoffs: Annotated[int, typer.Option(min=1, help="Learn from so many of the newest fit cutoffs.")] = 10,
    seed: _Seed = 0,
    name: _Name = "head",
    json: _Json = None,
) -> None:
    """The interest head's, on the vectors of the encoder that `train` left; the result is flags of `make` and `train`."""
    # Only a search needs optuna.
    from trainer.search.head import head_plan, head_search  # noqa: PLC0415
    from trainer.search.study import search  # noqa: PLC0415

    workspace = Workspace(work)
    with shown(_CONSOLE) as progress:
        found = head_search(workspace, HeadRecipe(epochs=epochs, seed=seed), cutoffs, progress)
        plan = head_plan(workspace, found, trials, seed)
        figures = search(plan, _journal(work, name), found.judge, progress("trials", trials))
    _say(figures, {name: f"--set head.{name}=" for name in plan.space}, json)


@app.command()
def plain(
    work: _Work = _WORK,
    tuning: Annotated[str, typer.Option(help=f"What is trained: {', '.join(TUNINGS)}.")] = "lora",
    trials: _Trials = 20,
    steps: Annotated[int, typer.Option(min=1, help="Batches of a trial.")] = _PLAIN.steps,
    every: Annotated[int, typer.Option(min=1, help="Train and judge on every so many households only.")] = 1,
    seed: _Seed = 0,
    name: Annotated[str, typer.Option(help="Of the study; plain-TUNING by default.")] = "",
    json: _Json = None,
) -> None:
    """Plain BERT's; the result is flags of `plain train`."""
    # Only a search needs optuna.
    from trainer.search.plain import PlainSearch, plain_plan  # noqa: PLC0415
    from trainer.search.study import search  # noqa: PLC0415

    if tuning not in TUNINGS:
        raise TrainerError(f"no tuning is called {tuning!r}: choose one of {', '.join(TUNINGS)}")
    samples = Workspace(work).samples()
    fitted, validation = split_rows(samples, every)
    recipe = PlainRecipe(tuning=tuning, steps=steps, seed=seed)
    journal = _journal(work, name or f"plain-{tuning}")
    found = PlainSearch(base_directory(), fitted, validation, recipe, journal.with_suffix(".trial"))
    plan = plain_plan(found, evaluation_protocol(samples), trials, seed)
    with shown(_CONSOLE) as progress:
        figures = search(plan, journal, found.judge, progress("trials", trials))
    _say(figures, {name: f"--{name.replace('_', '-')} " for name in plan.space}, json)


def flags(settings: Mapping[str, Any], options: Mapping[str, str]) -> str:
    """Settings as the command line takes them; ``options`` says by name what stands before each number."""
    return " ".join(f"{options[name]}{float(f'{value:.3g}'):g}" for name, value in settings.items())


def _say(figures: dict[str, Any], options: Mapping[str, str], json: Path | None) -> None:
    told = {name: flags(figures[name]["settings"], options) for name in ("usual", "best")}
    tell({**figures, "flags": told["best"]}, json)
    for name, given in told.items():
        line = f"{name}: {figures[name]['figure']:.4f} with {given}"
        _CONSOLE.print(line, markup=False, soft_wrap=True)


def _journal(work: Path, name: str) -> Path:
    return work / "search" / f"{name}.journal"
