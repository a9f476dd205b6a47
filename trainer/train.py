"""Training stage: encoder, then head, both rounded to what is shipped before anything is measured with them."""

from dataclasses import asdict
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from trainer.calibration import fit_curve, fit_line, fit_steps
from trainer.checkpoint import Checkpoint
from trainer.copurchase import Lesson, agreement, make_lesson
from trainer.encoder import (
    BehaviourEncoder,
    base_directory,
    encode,
    load_base,
    load_tokenizer,
    round_to_int8,
    save_encoder,
)
from trainer.evaluate import questions
from trainer.export import round_to_half
from trainer.fit_encoder import EncoderRecipe, Watch, fit_encoder
from trainer.fit_head import (
    HeadRecipe,
    fit_intent,
    fit_network,
    fit_scaling,
    fit_user_vector,
    predict,
    steps,
)
from trainer.handover import save_handover
from trainer.head import InterestHead
from trainer.head_inputs import level_of
from trainer.images import fit_fusion, fused_texts, kept_fusion
from trainer.pooling import Asked, measure
from trainer.progress import Progress
from trainer.rival_cache import fingerprint
from trainer.rows import Split, SplitReader, TextVectors
from trainer.tracking import Tracking, Untracked
from trainer.workspace import Workspace

_UNTRACKED: Final = Untracked()


def train_encoder(
    work: Workspace,
    recipe: EncoderRecipe,
    progress: Progress,
    tracking: Tracking = _UNTRACKED,
    *,
    resume: bool = False,
) -> dict[str, Any]:
    """Fine-tune, round and save the encoder and the vectors of all texts, fused with images if there are any; figures.

    Args:
        work: With samples. The run is kept there for ``resume``; ``forget_run`` removes it.
        recipe: How.
        progress: Shows bars.
        tracking: Told the losses.
        resume: Go on from where a killed run stood.

    Raises:
        TrainerError: If there is none, or it is of another recipe or other samples.
    """
    samples = work.samples()
    lesson = make_lesson(samples, recipe.seed)
    base = base_directory()
    encoder, tokenizer = load_base(base), load_tokenizer(base)
    before = encode(encoder, tokenizer, lesson.texts)
    bar, tell_loss = progress("fine-tune encoder", recipe.steps), tracking.losses("encoder")
    taught = fingerprint({}, (lesson.fit, lesson.weights, lesson.teacher))
    checkpoint = Checkpoint(work.encoder_checkpoint, {**asdict(recipe), "lesson": taught})
    loss = fit_encoder(encoder, tokenizer, lesson, recipe, Watch(bar, tell_loss, checkpoint, resume))
    return {
        "loss": loss,
        "agreement_unseen_before": agreement(lesson, before, lesson.unseen),
        **keep_encoder(work, encoder, tokenizer, lesson, recipe.image_weight).figures,
    }


def forget_run(work: Workspace) -> None:
    """Remove what ``train_encoder`` keeps to go on from: nothing is left to be done with it."""
    work.encoder_checkpoint.unlink(missing_ok=True)


class Kept(NamedTuple):
    """What :func:`keep_encoder` kept."""

    #: Of the lesson's texts, in int8.
    vectors: NDArray[np.float32]
    figures: dict[str, Any]


def keep_encoder(
    work: Workspace, encoder: BehaviourEncoder, tokenizer: Tokenizer, lesson: Lesson, image_weight: float
) -> Kept:
    """Round an encoder to int8 and save it with the vectors of all texts and names, which are the lesson's.

    Vectors of texts are fused with images if there are any.
    """
    samples = work.samples()
    exact = encode(encoder, tokenizer, lesson.texts)
    round_to_int8(encoder)
    rounded = encode(encoder, tokenizer, lesson.texts)
    save_encoder(encoder, work.encoder_weights)
    count = len(samples.texts)
    # Names as they are stored, so that the head is trained with what the worker reads.
    names = rounded[count:].astype(np.float16).astype(np.float32)
    images = fit_fusion(samples, rounded[:count], image_weight, work.directory)
    texts = fused_texts(rounded[:count], samples, kept_fusion(work.directory))
    work.save_vectors(TextVectors(texts, names))
    cosines = (exact * rounded).sum(axis=1)
    figures = {
        "texts": count,
        "unseen_texts": len(lesson.unseen),
        "agreement_unseen_after": agreement(lesson, exact, lesson.unseen),
        "agreement_unseen_int8": agreement(lesson, rounded, lesson.unseen),
        "int8_drift_min_cosine": float(cosines.min()),
        "int8_drift_mean_cosine": float(cosines.mean()),
        **({"images": images} if images else {}),
    }
    return Kept(rounded, figures)


def train_head(
    work: Workspace, recipe: HeadRecipe, progress: Progress, tracking: Tracking = _UNTRACKED
) -> dict[str, Any]:
    """Train, round, calibrate and save the head; figures."""
    samples = work.samples()
    calendar = samples.calendar
    reader = SplitReader(samples, work.vectors())
    splits = reader.read_fit(advance=progress("derive features", len(calendar.fit_cutoffs())))
    rows = reader.read_training_rows(splits, recipe.seed)
    tables = reader.tables(calendar.validation)
    torch.manual_seed(recipe.seed)  # the start of the network, its order of rows and its dropout
    head = InterestHead(tables, work.vectors().names, recipe.shape)
    fit_scaling(head, rows)
    bar = progress("train head", steps(len(rows.derived), recipe))
    fit_network(head, rows, recipe, bar, tracking.losses("head"))
    fit_intent(head, rows, recipe)
    latest = splits[-1].inputs
    fit_user_vector(head, latest.history, latest.window, latest.bought & latest.novel)
    round_to_half(head)
    validation = reader.read(calendar.validation, held_out=False)
    calibrate(head, validation)
    work.save_head(head, tables)
    save_handover(work, samples, head)
    return {"rows": len(rows.derived), "mix": head.mix.tolist(), "validation": measure_head(head, validation)}


def calibrate(head: InterestHead, validation: Split) -> None:
    """Fit the curves and the interests' steps on the newest month, over active households.

    Older months beside it make it worse: demand goes on from where it was last (docs/evaluation.md).
    """
    active = torch.from_numpy(validation.inputs.active)
    logits, bought = predict(head, validation.derived)[active], validation.inputs.bought[active]
    fit_curve(head.score_curve, logits, bought)
    head.interest_steps.copy_(fit_steps(head.score_curve(logits), bought))
    with torch.no_grad():
        intent = head.intent_logits(level_of(validation.inputs)[active])
    fit_line(head.intent_curve, intent, validation.inputs.intent[active])


def measure_head(head: InterestHead, validation: Split) -> dict[str, Any]:
    """Figures of the head, not yet exported, in each variant."""
    with torch.no_grad():
        scores = torch.sigmoid(head.calibrated(predict(head, validation.derived))).numpy()
    return {
        name: measure([Asked(validation.inputs.households, question)], [scores], probabilities=True)
        for name, question in questions(validation.inputs).items()
    }
