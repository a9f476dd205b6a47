"""The stages after training: ONNX files held against PyTorch, ad response, evaluation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainer.acts import acts_report
from trainer.ads import ResponseRows, assumed_response, fit_response, measured_response, response_rows
from trainer.contract import ENCODER, HEAD
from trainer.encoder import base_directory, load_encoder, load_tokenizer
from trainer.evaluate import (
    MODEL,
    PLAIN_BERT,
    Report,
    Scores,
    ask_head,
    intent_report,
    report,
)
from trainer.export import export_encoder, export_head
from trainer.fit_head import HeadRecipe
from trainer.looks import LOOKS, count_look
from trainer.models import Models, encode_texts
from trainer.parity import (
    compare,
    onnx_encoder,
    onnx_head,
    require_parity,
    torch_encoder_outputs,
    torch_head_outputs,
)
from trainer.plain.rival import plain_scores
from trainer.probe import make_probe, worst
from trainer.progress import Progress
from trainer.report.fairness import fairness
from trainer.report.groups import household_groups
from trainer.report.scored import Scored
from trainer.rival_cache import RivalCache
from trainer.rivals import RivalRecipe, Rivals
from trainer.rows import Split, SplitReader
from trainer.samples import Samples
from trainer.tables import Matrix
from trainer.workspace import Workspace


@dataclass(frozen=True, slots=True)
class EvaluationChoice:
    """What an evaluation is asked, and by which command.

    Attributes:
        repository: The published version there is evaluated; None for the run's own.
        live: Add gradient boosting with counts of all users up to the cutoff.
        validation: Score the validation cutoff of the households that are not held out instead: choices are made
            there, so that the test stays unseen.
        plain: Add this finished run of plain BERT.
        bar_only: Of the fitted baselines only the one that gates ask for.
        groups: Who belongs to which group (``trainer.report.groups``).
        command: As it was called, without its options.
    """

    repository: Path | None = None
    live: bool = False
    validation: bool = False
    plain: Path | None = None
    bar_only: bool = False
    groups: Path | None = None
    command: str = "interestflow-trainer evaluate"

    def told(self) -> str:
        """The command with the options that change the figures."""
        flags = {"--live": self.live, "--cutoff validation": self.validation, "--bar-only": self.bar_only}
        return " ".join(
            [
                self.command,
                *([f"--repository {self.repository}"] if self.repository else []),
                *([f"--plain {self.plain.name}"] if self.plain else []),
                *(flag for flag, given in flags.items() if given),
            ]
        )


class Evaluation(NamedTuple):
    """What :func:`evaluate` found."""

    variants: Report
    #: Purchase intent by days.
    intent: dict[str, dict[str, float]]
    #: How far single acts move the score of an interest that was never bought.
    acts: dict[str, float]
    scored: Scored


def export(work: Workspace, recipe: HeadRecipe) -> dict[str, Any]:
    """Write both ONNX files and hold them against PyTorch; the disagreements.

    Raises:
        ParityError: If they are not the same model.
    """
    samples, base = work.samples(), base_directory()
    encoder, head = load_encoder(base, work.encoder_weights), work.head(recipe.shape)
    export_encoder(encoder, work.encoder_onnx)
    export_head(head, len(samples.labels), work.head_onnx)
    probe = make_probe(samples, work.vectors(), load_tokenizer(base))
    encoder_onnx, head_onnx = onnx_encoder(work.encoder_onnx), onnx_head(work.head_onnx)
    found = {
        ENCODER: worst(
            [compare(torch_encoder_outputs(encoder, x), encoder_onnx.run(x)) for x in probe.encoder]
        ),
        HEAD: worst([compare(torch_head_outputs(head, x), head_onnx.run(x)) for x in probe.head]),
    }
    return {name: asdict(require_parity(gap, f"PyTorch and ONNX {name}")) for name, gap in found.items()}


def ad_response(samples: Samples, models: Models) -> dict[str, Any]:
    """The manifest's section ``ad_response``; an assumption if the data has no mailings."""
    if not samples.mailed:
        return assumed_response()
    return fit_response(samples, _response_rows(samples, models))


def coupon_response(samples: Samples, models: Models) -> dict[str, dict[str, float]]:
    """How well a response model on this head does on later campaigns, by rows; empty if the data has no mailings."""
    if not samples.mailed:
        return {}
    rows = _response_rows(samples, models)
    return measured_response(samples, rows, fit_response(samples, rows))


def _response_rows(samples: Samples, models: Models) -> ResponseRows:
    tokenizer = load_tokenizer(base_directory())

    def encode(texts: Sequence[str]) -> Matrix:
        return encode_texts(models.encoder, tokenizer, texts)

    return response_rows(samples, models.head, encode, models.vectors.names, models.vectors.texts)


def evaluate(
    work: Workspace,
    models: Models,
    recipe: RivalRecipe,
    choice: EvaluationChoice,
    progress: Progress,
) -> Evaluation:
    """The report of the head and its baselines over the test cutoffs, of purchase intent and of single acts.

    Args:
        work: With samples.
        models: What is evaluated.
        recipe: For the rivals.
        choice: What is asked.
        progress: Shows bars.
    """
    samples = work.samples()
    days = (samples.calendar.validation,) if choice.validation else samples.calendar.tests

    def read(reader: SplitReader) -> list[Split]:
        advance = progress("read cutoffs", len(days))
        splits = []
        for day in days:
            splits.append(reader.read(day, held_out=not choice.validation))
            advance(1)
        return splits

    reader = SplitReader(samples, models.vectors)
    splits = read(reader)
    plain: dict[str, list[Scores]] = {}
    if choice.plain is not None:  # first: a run that can't be asked is told of before anything is fitted
        asked = [(split.day, split.inputs.households) for split in splits]
        plain[PLAIN_BERT] = plain_scores(choice.plain, base_directory(), samples, asked, progress)
    rivals = Rivals(samples, recipe, RivalCache(work.rivals_directory), progress)
    scores = rivals.bar_scores(reader, splits) if choice.bar_only else rivals.scores(reader, splits)
    if choice.live:
        fresh = SplitReader(samples, models.vectors, live=True)
        scores.update(rivals.live_scores(fresh, read(fresh)))
    scores.update(plain)
    answers = [ask_head(models.head, split.inputs) for split in splits]
    scores[MODEL] = [answer.scores for answer in answers]
    scored = Scored(splits, scores, [answer.intent for answer in answers])
    return Evaluation(
        variants=report(splits, scores, progress),
        intent=intent_report(splits, scored.intent),
        acts=acts_report(models.head, splits[0].inputs, models.vectors.names),
        scored=scored,
    )


def run_evaluation(
    work: Workspace, models: Models, recipe: RivalRecipe, choice: EvaluationChoice, progress: Progress
) -> tuple[dict[str, Any], Evaluation]:
    """Evaluate, count the look at the test, and keep the figures of the run's own models for its gates; both."""
    samples = work.samples()
    # First: a file that can't be read is told of before anything is fitted.
    groups = household_groups(samples, choice.groups)
    found = evaluate(work, models, recipe, choice, progress)
    figures: dict[str, Any] = {
        "variants": found.variants,
        "intent": found.intent,
        "acts": found.acts,
        "fairness": fairness(found.scored, groups),
    }
    if choice.validation:
        return figures, found
    figures["coupon_response"] = coupon_response(samples, models)
    figures["test_looks"] = count_look(work.directory / LOOKS, choice.told())
    if choice.repository is None:
        told = {"protocol": evaluation_protocol(samples), "onnx_sha256": work.onnx_sha256()}
        work.save_json("evaluate", {**figures, **told})
    return figures, found


def evaluation_protocol(samples: Samples) -> dict[str, Any]:
    """What two evaluations must share for their figures to be of the same households and questions."""
    return {
        "samples": samples.data["sha256"],
        "cutoffs": [day.isoformat() for day in samples.calendar.tests],
        "labels": samples.labels.hash,
    }
