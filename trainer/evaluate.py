"""The evaluation report: the shipped head beside its baselines, on households that nothing was fitted or tuned on."""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.contract import INTENT_DAYS
from trainer.head_inputs import Inputs
from trainer.parity import OnnxModel
from trainer.pooling import Asked, auc_interval, measure, ndcg_interval
from trainer.progress import Progress, silent
from trainer.ranking import Question, auc, calibration_error
from trainer.rows import Split

Scores = NDArray[np.float32]
Report = dict[str, dict[str, Any]]

MODEL: Final = "model"
#: On every servable feature without text: the bar.
GBDT: Final = "gbdt"
GBDT_31: Final = "gbdt_31"
GBDT_17: Final = "gbdt_17"
#: The same with counts of all users up to the cutoff, which the worker doesn't have.
GBDT_LIVE: Final = "gbdt_live"
#: One BERT over the window's text, where a run of ``plain train`` is given.
PLAIN_BERT: Final = "plain_bert"
#: Whose scores are probabilities.
_PROBABILITIES: Final = (MODEL, GBDT, GBDT_31, GBDT_17, GBDT_LIVE, PLAIN_BERT)
#: Whom the head is held against in pairs.
_RIVALS: Final = (GBDT, GBDT_31, GBDT_17, PLAIN_BERT)
_COLUMNS: Final = ("ndcg10", "recall10", "macro_auc", "micro_auc", "ece")
_BEGIN: Final = "<!-- table: begin -->"
_END: Final = "<!-- table: end -->"
_BATCH: Final = 64


class HeadAnswers(NamedTuple):
    """What the shipped head says of n households."""

    scores: Scores  # [n, L]
    intent: Scores  # [n, 3]
    user_vectors: Scores  # [n, D]


def ask_head(head: OnnxModel, inputs: Inputs) -> HeadAnswers:
    """The exported head's answers to raw inputs."""
    pieces = [
        head.run(head_batch(inputs, slice(start, start + _BATCH)))
        for start in range(0, len(inputs.households), _BATCH)
    ]
    names = ("SCORES", "INTENT", "USER_VECTOR")
    return HeadAnswers(*(np.concatenate([piece[name] for piece in pieces]) for name in names))


def head_batch(inputs: Inputs, rows: slice) -> dict[str, NDArray[np.float32]]:
    """Some rows as the head's named inputs."""
    return {
        "HISTORY": inputs.history[rows].numpy(),
        "USER": inputs.user[rows].numpy(),
        "WINDOW": inputs.window[rows].numpy(),
    }


def questions(inputs: Inputs) -> dict[str, Question]:
    """The three variants."""
    bought = inputs.bought.numpy()
    candidates = {"all": np.ones_like(bought), "novel8": inputs.novel.numpy(), "never": inputs.never.numpy()}
    return {name: Question(bought, asked, inputs.active) for name, asked in candidates.items()}


def report(
    splits: Sequence[Split], scores: Mapping[str, Sequence[Scores]], progress: Progress = silent
) -> Report:
    """Figures of every model in every variant over all cutoffs, and the head minus its nearest rivals with intervals.

    Args:
        splits: Some households at each cutoff.
        scores: By model name and cutoff, ``model`` and ``gbdt`` among them.
        progress: Shows bars.
    """
    asked = [questions(split.inputs) for split in splits]
    advance = progress("measure variants", len(asked[0]))
    found: Report = {}
    for variant in asked[0]:
        cutoffs = [
            Asked(split.inputs.households, by_variant[variant])
            for split, by_variant in zip(splits, asked, strict=True)
        ]
        figures: dict[str, Any] = {
            name: measure(cutoffs, given, probabilities=name in _PROBABILITIES)
            for name, given in scores.items()
        }
        found[variant] = {**figures, **_differences(figures, scores, cutoffs)}
        advance(1)
    return found


def _differences(
    figures: Mapping[str, Any], scores: Mapping[str, Sequence[Scores]], cutoffs: Sequence[Asked]
) -> dict[str, Any]:
    """NDCG@10 and macro AUC of the head minus those of its nearest rivals, points and intervals."""
    found: dict[str, Any] = {}
    for rival in (name for name in _RIVALS if name in scores):
        pair, gap = (scores[MODEL], scores[rival]), f"model_minus_{rival}"
        found[gap] = figures[MODEL]["ndcg10"] - figures[rival]["ndcg10"]
        found[f"{gap}_ci"] = ndcg_interval(*pair, cutoffs)
        found[f"{gap}_auc"] = figures[MODEL]["macro_auc"] - figures[rival]["macro_auc"]
        found[f"{gap}_auc_ci"] = auc_interval(*pair, cutoffs)
    return found


def intent_report(splits: Sequence[Split], intent: Sequence[Scores]) -> dict[str, dict[str, float]]:
    """AUC, calibration error and base rate of purchase intent, over active households.

    The AUC is taken at each cutoff and averaged: the cutoffs are all on one weekday, but not in one season.
    """
    happened = [split.inputs.intent.numpy()[split.inputs.active] for split in splits]
    said = [given[split.inputs.active] for split, given in zip(splits, intent, strict=True)]
    together = np.concatenate(happened), np.concatenate(said)
    return {
        f"{days}d": {
            "auc": float(
                np.mean([auc(s[:, column], h[:, column]) for s, h in zip(said, happened, strict=True)])
            ),
            "ece": calibration_error(together[1][:, column], together[0][:, column], bins=5),
            "base_rate": float(together[0][:, column].mean()),
        }
        for column, days in enumerate(INTENT_DAYS)
    }


def markdown(found: Report, intent: Mapping[str, Mapping[str, float]], command: str) -> str:
    """The report as tables, with the command and the machine."""
    today = datetime.now(UTC).date().isoformat()
    lines = [f"`{command}`, {today}, {machine()}.", ""]
    for variant, figures in found.items():
        lines += [
            f"**{variant}**",
            "",
            f"| model | {' | '.join(_COLUMNS)} |",
            f"|---|{'---|' * len(_COLUMNS)}",
        ]
        lines += [
            f"| {name} | {' | '.join(_cell(row[column]) for column in _COLUMNS)} |"
            for name, row in figures.items()
            if isinstance(row, dict)
        ]
        lines += ["", *_told_differences(figures), ""]
    told = [
        f"{days} AUC {row['auc']:.3f} (ECE {row['ece']:.3f}, base rate {row['base_rate']:.3f})"
        for days, row in intent.items()
    ]
    return "\n".join([*lines, f"Purchase intent, any basket within: {'; '.join(told)}.", ""])


def _told_differences(figures: Mapping[str, Any]) -> list[str]:
    """One sentence per rival."""
    return [
        f"model - {rival}, 95 % by household: NDCG@10 {_span(figures[f'model_minus_{rival}_ci'])}, "
        f"macro AUC {_span(figures[f'model_minus_{rival}_auc_ci'])}."
        for rival in _RIVALS
        if f"model_minus_{rival}_ci" in figures
    ]


def put_table(page: Path, table: str) -> None:
    """Replace what stands between the page's two markers.

    Raises:
        ValueError: If the page has no markers.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page} has no {_BEGIN} and {_END}: put them where the table belongs")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def machine() -> str:
    """Processor and core count, as far as the system says."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names) or '?'} x {names[0] if names else platform.machine()}"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _span(interval: list[float]) -> str:
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}"
