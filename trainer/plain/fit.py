"""Training of plain BERT: multi-label cross-entropy by Hugging Face's Trainer, judged on the validation month.

Early stopping, checkpoints, resuming, tracking (TensorBoard, Weights & Biases, MLflow) and several processes are the
Trainer's own.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import (
    BertForSequenceClassification,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from stream.clock import SystemClock
from trainer.errors import TrainerError
from trainer.plain.adversarial import AdversarialTrainer, RankAllocation
from trainer.plain.merged import load_plain_tokenizer
from trainer.plain.stopwatch import Stopwatch
from trainer.plain.tuning import LEARNING_RATES, RANK, Tuning, base_rates, merged, trained_ratio, tuned
from trainer.plain.window_text import WindowRows
from trainer.pooling import Asked, measure
from trainer.ranking import rank

#: Probabilities [n, L] of the validation rows.
SAID: Final = "validation.npy"
#: Of a finished run.
FIGURES: Final = "figures.json"
#: In the figures, NDCG@10 of each ranked household by variant: what two runs are compared by.
NDCG: Final = "ndcg"
#: What decides between checkpoints.
_METRIC: Final = "novel8_ndcg10"
#: Batches of one row that the cost is measured with.
_COST_ROWS: Final = 64
_clock = SystemClock()

Precision = Literal["fp32", "bf16"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class PlainRecipe:
    """Everything that decides what plain BERT becomes.

    Attributes:
        tuning: How much of it is trained.
        steps: Batches; the seed repeats a run of so many.
        batch: Rows.
        learning_rate: 0 for what suits the tuning.
        weight_decay: Of AdamW.
        dropout: In every layer.
        rank: Of LoRA's and AdaLoRA's matrices.
        epsilon: Adversarial training, 0 for none; needs ``full``.
        tokens: Of the window's text; the oldest behaviour is cut off.
        looks: How often the validation month is looked at.
        patience: Training stops early after so many looks without progress, and the best look's weights are kept; 0 for neither.
        look_rows: Households of each look, evenly spaced; the last figures are of all of them.
        precision: ``bf16`` multiplies in half the bits, for CPUs and GPUs that have it.
        seed: Of everything.
    """

    tuning: Tuning = "full"
    steps: int = 1000
    batch: int = 32
    learning_rate: float = 0.0
    weight_decay: float = 0.01
    dropout: float = 0.1
    rank: int = RANK
    epsilon: float = 0.0
    tokens: int = 128
    looks: int = 10
    patience: int = 3
    look_rows: int = 400
    precision: Precision = "fp32"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class PlainRun:
    """Where a run leaves what, and how.

    Attributes:
        out: Gets checkpoints, ``figures.json`` and ``model/``.
        report_to: ``tensorboard``, ``wandb``, ``mlflow`` or ``none``.
        resume: Go on from the last checkpoint in ``out``.
        look: Told the deciding figure of each look; what it raises ends the training.
    """

    out: Path
    report_to: str = "none"
    resume: bool = False
    look: Callable[[float], None] | None = None


class _Encoded(Dataset[dict[str, Any]]):
    """Tokens and labels of each row."""

    def __init__(self, tokenizer: Any, rows: WindowRows, tokens: int) -> None:
        self._encoded = tokenizer(rows.texts, truncation=True, max_length=tokens)["input_ids"]
        self._bought = rows.bought

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, row: int) -> dict[str, Any]:
        ids = self._encoded[row]
        return {
            "input_ids": ids,
            "attention_mask": [1] * len(ids),
            "labels": self._bought[row].astype(np.float32),
        }


class _Told(TrainerCallback):
    """Tells the deciding figure of each look."""

    def __init__(self, look: Callable[[float], None]) -> None:
        self._look = look

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell it."""
        del args, state, control
        self._look(kwargs["metrics"][f"eval_{_METRIC}"])


def fit_plain(
    base: Path,
    fitted: WindowRows,
    validation: WindowRows,
    recipe: PlainRecipe,
    run: PlainRun,
) -> dict[str, Any]:
    """Train, keep the best checkpoint merged as safetensors in ``out``, and say how good and how dear it is.

    Args:
        base: Local directory of a Hugging Face BERT.
        fitted: Rows to train on.
        validation: Rows of the validation month.
        recipe: What to do.
        run: Where and how.

    Raises:
        TrainerError: There is no checkpoint to go on from, or the tuning does not fit the steps, ``epsilon`` or going on.
    """
    if run.resume and recipe.tuning == "adalora":
        raise TrainerError(
            "adalora hands out its ranks by what it saw of every step, which no checkpoint keeps: leave out --resume"
        )
    if recipe.epsilon and recipe.tuning != "full":
        raise TrainerError(
            f"adversarial training moves the word vectors, and --tuning {recipe.tuning} does not train them: leave out --epsilon"
        )
    arguments = _arguments(recipe, run)  # seeds before weights are drawn
    if run.resume and not list(run.out.glob("checkpoint-*")):
        raise TrainerError(f"{run.out} has no checkpoint to go on from: leave out --resume")
    tokenizer = load_plain_tokenizer(base)
    looked_at = validation.spaced(recipe.look_rows)
    stopwatch = Stopwatch(_clock)
    trainer = AdversarialTrainer(
        epsilon=recipe.epsilon,
        model_init=_starter(base, fitted, recipe),
        args=arguments,
        train_dataset=_Encoded(tokenizer, fitted, recipe.tokens),
        eval_dataset=_Encoded(tokenizer, looked_at, recipe.tokens),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_judge(looked_at),
        callbacks=[
            *([EarlyStoppingCallback(recipe.patience)] if recipe.patience else []),
            stopwatch,
            *([_Told(run.look)] if run.look is not None else []),
            *([RankAllocation()] if recipe.tuning == "adalora" else []),
        ],
    )
    trained = trainer.train(resume_from_checkpoint=run.resume)
    model: Any = trainer.model
    judged = _Encoded(tokenizer, validation, recipe.tokens)
    trainer.compute_metrics = _judge(validation)
    said = trainer.predict(judged)
    scores = probabilities(np.asarray(said.predictions))
    figures = {
        "recipe": asdict(recipe),
        "rows": len(fitted.texts),
        "trained_ratio": trained_ratio(model),
        "steps": trained.global_step,
        "kept_step": trainer.state.best_global_step if recipe.patience else trained.global_step,
        "loss": trained.training_loss,
        "seconds": round(stopwatch.seconds, 1),
        "samples_per_second": round(trained.global_step * recipe.batch / max(stopwatch.seconds, 1e-9), 2),
        "looks": [entry for entry in trainer.state.log_history if f"eval_{_METRIC}" in entry],
        "validation": _by_variant(said.metrics or {}),
        NDCG: {
            name: rank(scores, question).ndcg.tolist() for name, question in validation.questions().items()
        },
        "milliseconds_per_row": _cost(model, judged),
    }
    if trainer.is_world_process_zero():
        whole: Any = merged(model)
        whole.save_pretrained(run.out / "model")
        np.save(run.out / SAID, scores)
        (run.out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _arguments(recipe: PlainRecipe, run: PlainRun) -> TrainingArguments:
    every = max(1, recipe.steps // recipe.looks)
    return TrainingArguments(
        output_dir=str(run.out),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=2 * recipe.batch,
        learning_rate=recipe.learning_rate or LEARNING_RATES[recipe.tuning],
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.steps // 20,
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=every,
        save_steps=every,
        logging_steps=every,
        save_total_limit=2,
        load_best_model_at_end=recipe.patience > 0,
        metric_for_best_model=f"eval_{_METRIC}",
        greater_is_better=True,
        report_to=run.report_to,
        seed=recipe.seed,
        data_seed=recipe.seed,
        label_names=["labels"],
        dataloader_pin_memory=False,
        use_cpu=not torch.cuda.is_available(),
        bf16=recipe.precision == "bf16",
        restore_callback_states_from_checkpoint=run.resume,
    )


def _starter(base: Path, fitted: WindowRows, recipe: PlainRecipe) -> Callable[[], torch.nn.Module]:
    rates = torch.from_numpy(fitted.bought.mean(axis=0)).float()

    def start() -> torch.nn.Module:
        bert = BertForSequenceClassification.from_pretrained(
            str(base),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            num_labels=len(rates),
            problem_type="multi_label_classification",
            hidden_dropout_prob=recipe.dropout,
            attention_probs_dropout_prob=recipe.dropout,
        )
        base_rates(bert, rates)
        return tuned(bert, recipe.tuning, recipe.steps, recipe.rank)

    return start


def _judge(validation: WindowRows) -> Callable[[EvalPrediction], dict[str, float]]:
    questions = validation.questions()
    rows = np.arange(len(validation.texts))

    def judge(said: EvalPrediction) -> dict[str, float]:
        scores = probabilities(np.asarray(said.predictions))
        found: dict[str, float] = {}
        for variant, question in questions.items():
            figures = measure([Asked(rows, question)], [scores], probabilities=True)
            found |= {f"{variant}_{name}": value for name, value in figures.items() if value is not None}
        return found

    return judge


def probabilities(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Logits to probabilities."""
    clipped = np.clip(logits, -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)), dtype=np.float32)


def _by_variant(metrics: dict[str, float]) -> dict[str, dict[str, float]]:
    variants: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        variant, _, figure = name.removeprefix("test_").partition("_")
        if variant in {"all", "novel8", "never"}:
            variants.setdefault(variant, {})[figure] = value
    return variants


def _cost(model: torch.nn.Module, rows: _Encoded) -> float:
    """Milliseconds for one row by itself, as an update would pay it; the median."""
    model.eval()
    taken = []
    for place in range(min(_COST_ROWS, len(rows))):
        ids = torch.tensor([rows[place]["input_ids"]], device=next(model.parameters()).device)
        began = _clock.monotonic_seconds()
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
        taken.append(_clock.monotonic_seconds() - began)
    return float(np.median(taken) * 1000)
