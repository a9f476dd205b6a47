"""The report of an evaluation, written beside its figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from trainer.evaluate import MODEL, ask_head, machine, markdown
from trainer.explain.check import EXPLAIN
from trainer.gates import FAIRNESS_TOLERANCE
from trainer.models import Models
from trainer.report.choices import best_threshold, classified, reliability
from trainer.report.fairness import MIN_HOUSEHOLDS
from trainer.report.scored import Scored
from trainer.report.slices import by_buyers, by_cutoff, by_history
from trainer.rows import SplitReader
from trainer.samples import Samples
from trainer.stages import Evaluation
from trainer.workspace import Workspace, write_json

FIGURES = "report.json"


@dataclass(frozen=True, slots=True)
class ReportChoice:
    """What of an evaluation is reported, and where."""

    directory: Path
    #: The command that was run.
    command: str
    #: What was evaluated.
    models: Models
    #: The rows are those of the validation month.
    validation: bool


def write_report(
    work: Workspace, evaluation: Evaluation, told: Mapping[str, Any], choice: ReportChoice
) -> dict[str, Any]:
    """Markdown, HTML, plots and ``report.json`` into the directory; the figures.

    Args:
        work: With the samples.
        evaluation: Of these samples.
        told: What ``run_evaluation`` says of it; of that ``fairness`` and, if it was asked, ``coupon_response``.
        choice: What and where.
    """
    # matplotlib and the rest take a second that no other command needs.
    from trainer.report.document import write_document  # noqa: PLC0415
    from trainer.report.plots import draw_plots  # noqa: PLC0415

    scored, samples = evaluation.scored, work.samples()
    threshold = best_threshold(scored if choice.validation else _validation(samples, choice.models))
    figures: dict[str, Any] = {
        "coupon_response": told.get("coupon_response", {}),
        "explanations": _explanations(work),
        "reliability": reliability(scored),
        "by_cutoff": by_cutoff(scored),
        "by_history": by_history(scored),
        "by_buyers": by_buyers(scored),
        "fairness": told["fairness"],
        "classification": classified(scored, threshold, samples.labels.names),
    }
    choice.directory.mkdir(parents=True, exist_ok=True)
    page = {
        **figures,
        "command": choice.command,
        "day": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "data": samples.data["name"],
        "households": len(np.unique(np.concatenate([split.inputs.households for split in scored.splits]))),
        "cutoffs": [split.day.isoformat() for split in scored.splits],
        "validation": choice.validation,
        "shown": list(scored.shown()),
        "tolerance": FAIRNESS_TOLERANCE,
        "min_households": MIN_HOUSEHOLDS,
        "table": markdown(evaluation.variants, evaluation.intent, choice.command),
    }
    write_document(page, draw_plots(figures, choice.directory), choice.directory)
    write_json(
        choice.directory / FIGURES, {"variants": evaluation.variants, "intent": evaluation.intent, **figures}
    )
    return figures


def _explanations(work: Workspace) -> dict[str, Any] | None:
    """What ``interestflow-trainer explain`` found in this work directory, if it was run."""
    found = work.json(EXPLAIN) if work.has_json(EXPLAIN) else None
    return found if found and found["example"] else None


def _validation(samples: Samples, models: Models) -> Scored:
    """The validation month of the households that are not held out, as the head scores it."""
    split = SplitReader(samples, models.vectors).read(samples.calendar.validation, held_out=False)
    answers = ask_head(models.head, split.inputs)
    return Scored([split], {MODEL: [answers.scores]}, [answers.intent])
