"""A smaller encoder that says what a fine-tuned one says: some of its layers, taught by its vectors.

Source: Sanh et al. 2019, DistilBERT (a student of the teacher's layers); Reimers and Gurevych 2020, Making Monolingual
Sentence Embeddings Multilingual (its vectors as the target).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from trainer.augmentation import with_synonyms
from trainer.copurchase import Lesson, agreement, make_lesson
from trainer.encoder import BehaviourEncoder, base_directory, encode, load_encoder, load_tokenizer, tokenize
from trainer.errors import TrainerError
from trainer.fit_encoder import EncoderRecipe, Watch, descend, disagreement
from trainer.progress import Progress
from trainer.train import keep_encoder
from trainer.workspace import Workspace

#: Sharpness of both encoders' similarities.
_TEMPERATURE: Final = 0.07


@dataclass(frozen=True, slots=True)
class DistillRecipe:
    """How small, how long and by what.

    Attributes:
        layers: So many of the teacher's are kept.
        fit: Steps, batch and rate; its temperatures are not used.
        neighbours: Weight of the similarities within a batch beside the cosine to the teacher's vectors.
        mixed: Texts that are made of the words of two, for each text of the shop.
    """

    layers: int = 3
    fit: EncoderRecipe = field(default_factory=lambda: EncoderRecipe(steps=250, batch=64, learning_rate=4e-4))
    neighbours: float = 0.1
    mixed: float = 0.5


def evenly_spaced(layers: int, kept: int) -> list[int]:
    """Numbers of the layers to keep, from 0, the first and the last among them.

    Raises:
        TrainerError: If that is no smaller encoder.
    """
    if not 1 <= kept < layers:
        raise TrainerError(
            f"a student of {kept} layers is not smaller than its teacher of {layers}: give 1 to {layers - 1}"
        )
    return [round(number) for number in np.linspace(0, layers - 1, kept).tolist()]


def distill(
    teacher_work: Workspace, work: Workspace, recipe: DistillRecipe, progress: Progress
) -> dict[str, Any]:
    """Teach a student, round and save it with its vectors of all texts; figures.

    Args:
        teacher_work: Has the samples and a fine-tuned encoder.
        work: Of the student: gets what ``train_encoder`` would leave.
        recipe: How.
        progress: Shows bars.
    """
    samples, base = teacher_work.samples(), base_directory()
    lesson, tokenizer = make_lesson(samples, recipe.fit.seed), load_tokenizer(base)
    student = load_encoder(base, teacher_work.encoder_weights)
    teacher = load_encoder(base, teacher_work.encoder_weights)
    kept = evenly_spaced(teacher.layers, recipe.layers)
    student.keep_layers(kept)
    unseen = lesson.unseen
    said = encode(teacher, tokenizer, lesson.texts)
    before = encode(student, tokenizer, [lesson.texts[row] for row in unseen])
    shown = shown_texts(lesson, recipe)
    targets = encode(teacher, tokenizer, shown)
    bar = progress("distil encoder", recipe.fit.steps)
    loss = fit_student(student, tokenizer, (shown, targets), recipe, bar)
    found = keep_encoder(work, student, tokenizer, lesson, recipe.fit.image_weight)
    return {
        "recipe": asdict(recipe),
        "layers": kept,
        "teacher_layers": teacher.layers,
        "shown_texts": len(shown),
        "loss": loss,
        "agreement_unseen_teacher": agreement(lesson, said, unseen),
        "cosine_unseen_before": cosine(said[unseen], before),
        "cosine_unseen": cosine(said[unseen], found.vectors[unseen]),
        **found.figures,
    }


def shown_texts(lesson: Lesson, recipe: DistillRecipe) -> list[str]:
    """What the student is shown: all texts and names but the unseen ones, with synonyms, and mixtures of two of them.

    A shop has few texts; what two of them have in common is more to learn from.
    """
    unseen = set(lesson.unseen.tolist())
    texts, _ = with_synonyms([text for row, text in enumerate(lesson.texts) if row not in unseen])
    draw = np.random.default_rng(recipe.fit.seed)
    words = [text.split() for text in texts if text.split()]
    made = []
    for one, other in draw.integers(0, len(words), (round(recipe.mixed * len(texts)), 2)).tolist():
        kept = words[one][: draw.integers(1, len(words[one]) + 1)]
        made.append(" ".join([*kept, *words[other][draw.integers(0, len(words[other])) :]]))
    return [*texts, *made]


def fit_student(
    student: BehaviourEncoder,
    tokenizer: Tokenizer,
    lesson: tuple[Sequence[str], NDArray[np.float32]],
    recipe: DistillRecipe,
    advance: Callable[[int], None] = lambda _: None,
) -> float:
    """Teach in place by texts and the teacher's vectors of them; the mean loss of the last tenth of the steps."""
    texts, targets = lesson[0], torch.from_numpy(lesson[1])
    batch = min(recipe.fit.batch, len(texts))

    def loss(draw: np.random.Generator) -> Tensor:
        rows = draw.choice(len(texts), batch, replace=False)
        vectors, wanted = student(*tokenize(tokenizer, [texts[row] for row in rows])), targets[rows]
        apart: Tensor = 1.0 - (vectors * wanted).sum(dim=1).mean()
        return apart + recipe.neighbours * disagreement(vectors, wanted, _TEMPERATURE, _TEMPERATURE)

    return descend(student, recipe.fit, loss, Watch(advance))


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> dict[str, float] | None:
    """Mean and least cosine of rows of unit vectors; None if there are none."""
    if not len(one):
        return None
    cosines = (one * other).sum(axis=1)
    return {"mean": float(cosines.mean()), "least": float(cosines.min())}
