"""What each measure against overfitting is worth to plain BERT: one of them changed at a time, several seeds each.

Judged on the validation month; intervals are over its households, of the mean over the seeds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.augmentation import AUGMENTATIONS, Augmentation, Substitutes, neighbours, one_of, with_synonyms
from trainer.encoder import base_directory
from trainer.errors import TrainerError
from trainer.models import published_vectors
from trainer.plain.fit import FIGURES, NDCG, PlainRecipe, PlainRun, Precision, fit_plain
from trainer.plain.window_text import Altered, WindowRows, split_rows
from trainer.samples import Samples
from trainer.unsupervised.pretrain_score import interval

#: What every factor is compared with: dropout and weight decay as usual, early stopping, nothing else.
USUAL: Final = "usual"
#: What of the recipe each factor changes.
FACTORS: Final[Mapping[str, Mapping[str, Any]]] = {
    USUAL: {},
    "no_dropout": {"dropout": 0.0},
    "no_weight_decay": {"weight_decay": 0.0},
    "no_early_stopping": {"patience": 0},
    "adversarial": {"epsilon": 1.0},
    "augmentation": {},
    **{f"augmentation_{name}": {} for name in AUGMENTATIONS},
}
_VARIANTS: Final = ("all", "novel8", "never")
_NEIGHBOURS: Final = 5


@dataclass(frozen=True, slots=True)
class AblationSize:
    """How long and on how much each run is trained: some seven times over few rows, for a measure against overfitting needs some.

    Attributes:
        seeds: Runs of each factor.
        steps: Batches of a run.
        batch: Rows.
        tokens: Of the window's text.
        every: Learn from every so many households.
        judged_every: Judge on every so many.
        looks: At the validation month, for early stopping.
        precision: Of all runs.
    """

    seeds: int = 3
    steps: int = 200
    batch: int = 16
    tokens: int = 64
    every: int = 64
    judged_every: int = 4
    looks: int = 5
    precision: Precision = "fp32"

    def recipe(self, factor: str, seed: int) -> PlainRecipe:
        """What one run does."""
        usual = PlainRecipe(
            steps=self.steps,
            batch=self.batch,
            tokens=self.tokens,
            looks=self.looks,
            patience=2,
            precision=self.precision,
            seed=seed,
        )
        return replace(usual, **FACTORS[factor])


def run_ablation(
    samples: Samples, repository: Path, directory: Path, size: AblationSize, factors: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Make the runs that are not there yet, seed by seed, and say what each factor is worth.

    Args:
        samples: Where to read.
        repository: Its encoder says which texts are neighbours.
        directory: Keeps the figures of finished runs.
        size: Of the runs; runs of another size are made again.
        factors: Of ``FACTORS``; ``usual`` is always among them.

    Raises:
        TrainerError: If a factor is unknown.
    """
    unknown = sorted(set(factors) - set(FACTORS))
    if unknown:
        raise TrainerError(f"no factor is called {unknown[0]!r}: choose of {', '.join(FACTORS)}")
    chosen = [name for name in FACTORS if name == USUAL or name in factors]
    substitutes = _substitutes(samples, repository, chosen)
    for seed in range(size.seeds):
        for factor in chosen:
            out = directory / f"{factor}-{seed}"
            recipe = size.recipe(factor, seed)
            if not _is_made(out, recipe, size):
                altered = _altered(factor, seed, substitutes)
                rows = split_rows(samples, size.every, size.judged_every, altered)
                _run(out, rows, recipe, size)
    return ablation(
        {name: [_kept(directory / f"{name}-{seed}") for seed in range(size.seeds)] for name in chosen}
    )


def ablation(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Figures of each factor from its runs' NDCG by household: mean, spread over seeds, difference to ``usual``."""
    found: dict[str, dict[str, Any]] = {}
    for factor, made in runs.items():
        found[factor] = {"steps": [run["steps"] for run in made], "seconds": [run["seconds"] for run in made]}
        for variant in _VARIANTS:
            each, usual = (_by_seed(some, variant) for some in (made, runs[USUAL]))
            difference = (each - usual).mean(axis=0)
            found[factor][variant] = {
                "ndcg10": float(each.mean()),
                "by_seed": [float(mean) for mean in each.mean(axis=1)],
                "difference": float(difference.mean()),
                "difference_ci": interval(difference, seed=0),
            }
    return found


def ablation_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """As a Markdown table."""
    heads = " | ".join(f"{variant} NDCG@10 | difference (95 %)" for variant in _VARIANTS)
    lines = [f"| factor | {heads} |", f"|---|{'---|' * (2 * len(_VARIANTS))}"]
    for factor, figures in found.items():
        cells = []
        for variant in _VARIANTS:
            one = figures[variant]
            low, high = one["difference_ci"]
            seeds = ", ".join(f"{mean:.4f}" for mean in one["by_seed"])
            cells += [
                f"{one['ndcg10']:.4f} ({seeds})",
                f"{one['difference']:+.4f} ({low:+.4f} to {high:+.4f})",
            ]
        lines.append(f"| {factor} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _run(out: Path, rows: tuple[WindowRows, WindowRows], recipe: PlainRecipe, size: AblationSize) -> None:
    """One run; its weights are not kept."""
    figures = fit_plain(base_directory(), *rows, recipe, PlainRun(out))
    rmtree(out)
    out.mkdir()
    kept = {"size": _rows_of(size), "asked": repr(recipe), **figures}
    (out / FIGURES).write_text(json.dumps(kept), encoding="utf-8")


def _is_made(out: Path, recipe: PlainRecipe, size: AblationSize) -> bool:
    if not (out / FIGURES).exists():
        return False
    kept = _kept(out)
    return bool(kept["asked"] == repr(recipe) and kept["size"] == _rows_of(size))


def _rows_of(size: AblationSize) -> list[int]:
    """What of the size the recipe doesn't say; more seeds of the same keep the runs that are there."""
    return [size.every, size.judged_every]


def _kept(out: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((out / FIGURES).read_text(encoding="utf-8"))
    return figures


def _by_seed(runs: Sequence[Mapping[str, Any]], variant: str) -> NDArray[np.float64]:
    """NDCG@10 of each ranked household by run, [seeds, households]."""
    return np.array([run[NDCG][variant] for run in runs], dtype=np.float64)


def _substitutes(
    samples: Samples, repository: Path, factors: Sequence[str]
) -> tuple[list[str], Substitutes] | None:
    if not any(name.startswith("augmentation") for name in factors):
        return None
    told, synonyms = with_synonyms(samples.texts)
    return told, Substitutes(neighbours(published_vectors(told, repository), _NEIGHBOURS), synonyms)


def _altered(factor: str, seed: int, substitutes: tuple[list[str], Substitutes] | None) -> Altered | None:
    if substitutes is None or not factor.startswith("augmentation"):
        return None
    one = factor.removeprefix("augmentation").removeprefix("_")
    names: tuple[Augmentation, ...] = tuple(name for name in AUGMENTATIONS if one in {"", name})
    texts, candidates = substitutes
    return Altered(one_of(names, candidates), texts, seed)
