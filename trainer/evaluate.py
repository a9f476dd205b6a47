"""The evaluation report: the shipped head beside its baselines, on households that nothing was fitted or tuned on."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.contract import INTENT_DAYS
from trainer.head_inputs import Inputs
from trainer.parity import OnnxModel
from trainer.ranking import Question, auc, auc_interval, calibration_error, measure, ndcg_interval
from trainer.rows import Split

Scores = NDArray[np.float32]
Report = dict[str, dict[str, Any]]

MODEL: Final = "model"
GBDT: Final = "gbdt"
#: The same with counts of all users up to the cutoff, which the worker doesn't have.
GBDT_LIVE: Final = "gbdt_live"
#: Whose scores are probabilities.
_PROBABILITIES: Final = (MODEL, GBDT, GBDT_LIVE)
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


def report(split: Split, scores: Mapping[str, Scores]) -> Report:
    """Figures of every model in every variant, and the intervals of the head minus gradient boosting.

    Args:
        split: Held-out households at the test cutoff.
        scores: By model name, ``model`` and ``gbdt`` among them.
    """
    found: Report = {}
    for variant, question in questions(split.inputs).items():
        figures: dict[str, Any] = {
            name: measure(given, question, probabilities=name in _PROBABILITIES)
            for name, given in scores.items()
        }
        pair = scores[MODEL], scores[GBDT]
        figures["model_minus_gbdt_ci"] = ndcg_interval(*pair, question)
        figures["model_minus_gbdt_auc_ci"] = auc_interval(*pair, question)
        found[variant] = figures
    return found


def intent_report(split: Split, intent: Scores) -> dict[str, dict[str, float]]:
    """AUC, calibration error and base rate of purchase intent, over active households."""
    happened = split.inputs.intent.numpy()[split.inputs.active]
    said = intent[split.inputs.active]
    return {
        f"{days}d": {
            "auc": auc(said[:, column], happened[:, column]),
            "ece": calibration_error(said[:, column], happened[:, column], bins=5),
            "base_rate": float(happened[:, column].mean()),
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
        ndcg, auc = figures["model_minus_gbdt_ci"], figures["model_minus_gbdt_auc_ci"]
        lines += ["", f"model - gbdt, 95 % by household: NDCG@10 {_span(ndcg)}, macro AUC {_span(auc)}.", ""]
    told = [
        f"{days} AUC {row['auc']:.3f} (ECE {row['ece']:.3f}, base rate {row['base_rate']:.3f})"
        for days, row in intent.items()
    ]
    return "\n".join([*lines, f"Purchase intent, any basket within: {'; '.join(told)}.", ""])


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
