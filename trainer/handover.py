"""What a version leaves to the next one beside its models: the weights of its head, and what drift is measured against."""

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.drift_reference import REFERENCE, make_reference
from trainer.errors import TrainerError
from trainer.head import InterestHead
from trainer.samples import Samples
from trainer.workspace import Workspace

#: Beside the head's model.onnx: what is learnt by gradient, and the scaling that it is used with.
WEIGHTS: Final = "weights.safetensors"
_SCALING: Final = ("mean", "scale", "user_mean", "user_scale")
#: Purchase intent is learnt anew by every update, within seconds.
_LEARNT_ANEW: Final = "intent."


def save_weights(head: InterestHead, path: Path) -> None:
    """Write what an update starts from; large tensors in half precision, to which they were rounded."""
    save_file({name: _smallest(tensor.detach()) for name, tensor in _handed_over(head).items()}, path)


def load_weights(head: InterestHead, path: Path) -> None:
    """Start a head from the weights of another.

    Raises:
        TrainerError: If they are missing, or of a head with other features or sizes.
    """
    if not path.exists():
        raise TrainerError(
            f"{path} is missing: the version was published by an earlier release; train a new one with `make model`"
        )
    with torch.no_grad():
        given = load_file(path)
        for name, tensor in _handed_over(head).items():
            if name not in given or given[name].shape != tensor.shape:
                there = list(given[name].shape) if name in given else "missing"
                raise TrainerError(
                    f"{path} does not fit this head: {name} is {there}, {list(tensor.shape)} is asked; the head has "
                    "changed since: train a new one with `make model`"
                )
            tensor.copy_(given[name].float())


def save_handover(work: Workspace, samples: Samples, head: InterestHead) -> None:
    """Keep what is published for the next update: weights, and what drift is measured against."""
    save_weights(head, work.directory / WEIGHTS)
    make_reference(samples, samples.calendar.validation).save(work.directory / REFERENCE)


def handover_files(work: Workspace) -> dict[str, Path]:
    """The files of :func:`save_handover` by the name that they are published under."""
    return {name: work.directory / name for name in (WEIGHTS, REFERENCE) if (work.directory / name).exists()}


def _handed_over(head: InterestHead) -> dict[str, Tensor]:
    learnt = {name: tensor for name, tensor in head.named_parameters() if not name.startswith(_LEARNT_ANEW)}
    return {**learnt, **{name: getattr(head, name) for name in _SCALING}}


def _smallest(tensor: Tensor) -> Tensor:
    half = tensor.half()
    return (half if bool(torch.equal(half.float(), tensor)) else tensor).contiguous()
