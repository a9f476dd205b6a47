"""How much of BERT is trained: everything, a few weights beside it (``peft``), or nothing but the output layer."""

from typing import Final, Literal, get_args

import torch
from peft import (
    AdaLoraConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
)
from torch import nn
from transformers import BertForSequenceClassification

from trainer.errors import TrainerError

Tuning = Literal["full", "lora", "adalora", "ia3", "prompt", "frozen"]
TUNINGS: Final[tuple[Tuning, ...]] = get_args(Tuning)

#: What each is trained with; a few weights take longer strides than all of them.
LEARNING_RATES: Final[dict[Tuning, float]] = {
    "full": 1e-4,
    "lora": 1e-3,
    "adalora": 2e-3,
    "ia3": 5e-3,
    "prompt": 5e-3,
    "frozen": 5e-3,
}
#: Those that add matrices of a low rank.
RANKED: Final[frozenset[Tuning]] = frozenset({"lora", "adalora"})
#: That of both.
RANK: Final = 8
_PROMPT_TOKENS: Final = 8
_DROPOUT: Final = 0.1


def tuned(bert: BertForSequenceClassification, tuning: Tuning, steps: int, rank: int = RANK) -> nn.Module:
    """The model with what ``tuning`` trains; the rest is frozen. The output layer is always trained.

    Args:
        bert: Changed in place.
        tuning: One of ``TUNINGS``.
        steps: How long it will be trained: AdaLoRA hands out its ranks meanwhile.
        rank: Of the matrices of ``RANKED``.

    Raises:
        TrainerError: AdaLoRA has too few steps to hand out ranks.
    """
    if tuning == "full":
        return bert
    if tuning == "frozen":
        bert.base_model.requires_grad_(requires_grad=False)
        return bert
    model: nn.Module = get_peft_model(bert, _peft_config(tuning, steps, rank))
    return model


def trained_ratio(model: nn.Module) -> float:
    """Share of the weights that training changes."""
    counts = [(weights.numel(), weights.requires_grad) for weights in model.parameters()]
    trained = sum(int(count) for count, is_trained in counts if is_trained)
    return trained / sum(int(count) for count, _ in counts)


def merged(model: nn.Module) -> nn.Module:
    """One BERT without anything beside it: what is exported. What can't be merged (a prompt) is left as it is."""
    merge = getattr(model, "merge_and_unload", None)
    is_prompt = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    whole: nn.Module = model if merge is None or is_prompt else merge()
    return whole


def base_rates(bert: BertForSequenceClassification, rates: torch.Tensor) -> None:
    """Let the untrained model say how often each interest is bought, [L]: it then learns what differs from that."""
    with torch.no_grad():
        bert.classifier.weight.mul_(0.1)
        bert.classifier.bias.copy_(torch.logit(rates.clamp(1e-4, 1 - 1e-4)))


def _peft_config(tuning: Tuning, steps: int, rank: int) -> PeftConfig:
    attention = ["query", "value"]
    if tuning == "lora":
        return LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=rank,
            lora_alpha=2 * rank,
            lora_dropout=_DROPOUT,
            target_modules=attention,
        )
    if tuning == "adalora":
        warm_up, settled = steps // 10, steps // 2
        if warm_up < 1 or warm_up + settled >= steps:
            raise TrainerError(
                f"adalora hands out its ranks while it is trained: give it 10 steps or more, not {steps}"
            )
        return AdaLoraConfig(
            task_type=TaskType.SEQ_CLS,
            init_r=rank + rank // 2,
            target_r=rank,
            lora_alpha=2 * rank,
            lora_dropout=_DROPOUT,
            target_modules=attention,
            tinit=warm_up,
            tfinal=settled,
            deltaT=max(1, steps // 100),
            total_step=steps,
        )
    if tuning == "ia3":
        return IA3Config(
            task_type=TaskType.SEQ_CLS,
            target_modules=["key", "value", "output.dense"],
            feedforward_modules=["output.dense"],
        )
    return PromptTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=_PROMPT_TOKENS)
