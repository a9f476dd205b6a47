"""``interestflow-trainer plain``: train plain BERT in one of several ways, and put them in one table."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console

from trainer.encoder import base_directory
from trainer.errors import TrainerError
from trainer.plain.ablation import FACTORS, AblationSize, ablation_table, run_ablation
from trainer.plain.export import export_plain
from trainer.plain.fit import FIGURES, NDCG, PRECISIONS, PlainRecipe, PlainRun, Precision, fit_plain
from trainer.plain.tuning import TUNINGS
from trainer.plain.window_text import split_rows
from trainer.telling import tell
from trainer.tracking import require_tracker
from trainer.unsupervised.pretrain_score import interval
from trainer.workspace import Workspace, write_json

app = typer.Typer(no_args_is_help=True, help=__doc__)
_COLUMNS: Final = ("ndcg10", "macro_auc")
_VARIANTS: Final = ("all", "novel8", "never")
_WORK = Path("data/trainer")
#: An exported run is compared on the windows of every so many households.
_EXPORT_EVERY: Final = 30
_USUAL: Final = PlainRecipe()
_SIZE: Final = AblationSize()
#: Augmentations all together; each by itself where it is asked for.
_WHOLE: Final = [name for name in FACTORS if not name.startswith("augmentation_")]

_Work = Annotated[Path, typer.Option(help="With the samples; runs are kept in plain/ below it.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]


@app.command()
def train(
    work: _Work = _WORK,
    tuning: Annotated[str, typer.Option(help=f"What is trained: {', '.join(TUNINGS)}.")] = "full",
    steps: Annotated[int, typer.Option(min=1, help="Batches.")] = _USUAL.steps,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a batch.")] = _USUAL.batch,
    tokens: Annotated[int, typer.Option(min=8, max=512, help="Of the window's text.")] = _USUAL.tokens,
    learning_rate: Annotated[
        float, typer.Option(min=0.0, help="0 for what suits the tuning.")
    ] = _USUAL.learning_rate,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="Of AdamW.")] = _USUAL.weight_decay,
    dropout: Annotated[float, typer.Option(min=0.0, max=0.9, help="In every layer.")] = _USUAL.dropout,
    rank: Annotated[int, typer.Option(min=1, help="Of LoRA's and AdaLoRA's matrices.")] = _USUAL.rank,
    epsilon: Annotated[float, typer.Option(min=0.0, help="Adversarial training (FGM); 0 for none.")] = 0.0,
    looks: Annotated[int, typer.Option(min=1, help="How often October is looked at.")] = _USUAL.looks,
    patience: Annotated[
        int,
        typer.Option(
            min=0, help="End after so many looks without progress, and keep the best; 0 for neither."
        ),
    ] = _USUAL.patience,
    look_rows: Annotated[int, typer.Option(min=10, help="Households of each look.")] = _USUAL.look_rows,
    precision: Annotated[str, typer.Option(help=f"{' or '.join(PRECISIONS)}.")] = _USUAL.precision,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Train and judge on every so many households only.")] = 1,
    report_to: Annotated[str, typer.Option(help="tensorboard, wandb, mlflow or none.")] = "none",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    name: Annotated[str, typer.Option(help="Of the run; the tuning's by default.")] = "",
    json: _Json = None,
) -> None:
    """Train on the fit months, judge on the validation month; the test months are not read."""
    if tuning not in TUNINGS:
        raise TrainerError(f"no tuning is called {tuning!r}: choose one of {', '.join(TUNINGS)}")
    require_tracker(report_to)
    recipe = PlainRecipe(
        tuning=tuning,
        steps=steps,
        batch=batch,
        tokens=tokens,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        dropout=dropout,
        rank=rank,
        epsilon=epsilon,
        looks=looks,
        patience=patience,
        look_rows=look_rows,
        precision=_known(precision),
        seed=seed,
    )
    workspace = Workspace(work)
    fitted, validation = split_rows(workspace.samples(), every)
    run = PlainRun(work / "plain" / (name or tuning), report_to, resume)
    _tell(fit_plain(base_directory(), fitted, validation, recipe, run), json)


@app.command()
def ablate(
    work: _Work = _WORK,
    factors: Annotated[str, typer.Option(help=f"With commas, of {', '.join(FACTORS)}.")] = ",".join(_WHOLE),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each.")] = _SIZE.seeds,
    steps: Annotated[int, typer.Option(min=1, help="Batches of a run.")] = _SIZE.steps,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a batch.")] = _SIZE.batch,
    tokens: Annotated[int, typer.Option(min=8, max=512, help="Of the window's text.")] = _SIZE.tokens,
    every: Annotated[int, typer.Option(min=1, help="Learn from every so many households.")] = _SIZE.every,
    precision: Annotated[str, typer.Option(help=f"{' or '.join(PRECISIONS)}.")] = _SIZE.precision,
    repository: Annotated[Path, typer.Option(help="Its encoder says which texts are neighbours.")] = Path(
        "triton_models"
    ),
    json: _Json = None,
) -> None:
    """What each measure against overfitting is worth; runs that are there are not made again, so it goes on after a kill."""
    size = AblationSize(
        seeds=seeds, steps=steps, batch=batch, tokens=tokens, every=every, precision=_known(precision)
    )
    found = run_ablation(
        Workspace(work).samples(), repository, work / "plain-ablation", size, factors.split(",")
    )
    Console(width=160, soft_wrap=True).print(ablation_table(found), markup=False, highlight=False)
    if json is not None:
        write_json(json, found)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="Of the run.")],
    work: _Work = _WORK,
    json: _Json = None,
) -> None:
    """Write a finished run, adapters merged, as ONNX, and hold it against PyTorch on windows of the validation month."""
    run = work / "plain" / name
    if not (run / FIGURES).exists():
        raise TrainerError(f"{run} is no finished run: `interestflow-trainer plain train` makes one")
    _, validation = split_rows(Workspace(work).samples(), _EXPORT_EVERY)
    texts = [text for text in validation.texts if text]
    tell(export_plain(run, base_directory(), texts, _read(run / FIGURES)["recipe"]["tokens"]), json)


@app.command()
def compare(work: _Work = _WORK, json: _Json = None) -> None:
    """One table of all runs in this work directory, on the validation month."""
    runs = {path.parent.name: _read(path) for path in sorted((work / "plain").glob(f"*/{FIGURES}"))}
    if not runs:
        raise TrainerError(
            f"{work / 'plain'} has no finished run: `interestflow-trainer plain train` makes one"
        )
    found = {
        name: {**_told(run), "minus_full": differences(run, runs.get("full"))} for name, run in runs.items()
    }
    Console(width=160, soft_wrap=True).print(table(found), markup=False, highlight=False)
    if json is not None:
        write_json(json, found)


def differences(run: dict[str, Any], full: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """NDCG@10 of a run minus that of full tuning by variant, with intervals; empty if both did not rank the same number of households.

    Runs of an earlier release don't say what each household had.
    """
    if full is None or run is full or not {NDCG} <= run.keys() & full.keys():
        return {}
    pairs = {name: (np.array(run[NDCG][name]), np.array(full[NDCG][name])) for name in _VARIANTS}
    if any(len(ours) != len(theirs) for ours, theirs in pairs.values()):
        return {}
    return {
        name: {"ndcg10": float((ours - theirs).mean()), "ndcg10_ci": interval(ours - theirs, seed=0)}
        for name, (ours, theirs) in pairs.items()
    }


def table(runs: dict[str, dict[str, Any]]) -> str:
    """The runs as a Markdown table; behind each NDCG@10 the interval of its difference to full tuning."""
    heads = [f"{variant} {column}" for column in _COLUMNS for variant in _VARIANTS]
    lines = [
        f"| run | trained weights | steps | seconds | rows/s | ms per row | {' | '.join(heads)} |",
        f"|---|{'---|' * (5 + len(heads))}",
    ]
    for name, run in runs.items():
        found = [_cell(run, column, variant) for column in _COLUMNS for variant in _VARIANTS]
        lines.append(
            f"| {name} | {run['trained_ratio']:.1%} | {run['steps']} | {run['seconds']:.0f} | "
            f"{run['samples_per_second']:.0f} | {run['milliseconds_per_row']:.1f} | {' | '.join(found)} |"
        )
    return "\n".join(lines)


def _cell(run: dict[str, Any], column: str, variant: str) -> str:
    figure = f"{run['validation'][variant][column]:.4f}"
    against = run["minus_full"].get(variant)
    if column != "ndcg10" or against is None:
        return figure
    low, high = against["ndcg10_ci"]
    return f"{figure} ({low:+.4f} to {high:+.4f})"


def _told(run: dict[str, Any]) -> dict[str, Any]:
    """A run's figures without those of each household."""
    return {name: figure for name, figure in run.items() if name != NDCG}


def _known(precision: str) -> Precision:
    if precision not in PRECISIONS:
        raise TrainerError(f"no precision is called {precision!r}: choose one of {', '.join(PRECISIONS)}")
    return precision


def _read(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _tell(figures: dict[str, Any], path: Path | None) -> None:
    if int(os.environ.get("RANK", "0")):  # one of several processes tells
        return
    tell(_told(figures), path)
