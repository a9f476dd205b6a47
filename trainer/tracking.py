"""A training told to TensorBoard, Weights & Biases or MLflow while it runs, by accelerate's trackers.

TensorBoard comes with the trainer; the other two are used where their packages are installed, and configured by their own
environment variables (``WANDB_MODE``, ``MLFLOW_TRACKING_URI``, …).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from accelerate import PartialState
from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

from trainer.errors import TrainerError

#: By the name that ``--report-to`` takes: the module that must be there, and how it is installed.
TRACKERS: Final[Mapping[str, tuple[str, str]]] = {
    "tensorboard": ("tensorboard", "tensorboard"),
    "wandb": ("wandb", "wandb"),
    "mlflow": ("mlflow", "mlflow-skinny"),
}
NONE: Final = "none"
_PROJECT: Final = "interestflow"
#: So many losses are told as their mean.
_TOGETHER: Final = 10

#: Told the loss of each step.
TellLoss = Callable[[float], None]


class Tracking(Protocol):
    """Where a training is told."""

    def losses(self, name: str) -> TellLoss:
        """What is told the loss of each step of one network."""
        ...

    def figures(self, name: str, figures: Mapping[str, Any]) -> None:
        """Tell all numbers among nested figures."""
        ...


class Untracked:
    """Nowhere."""

    def losses(self, name: str) -> TellLoss:
        """Nothing."""
        del name
        return lambda _: None

    def figures(self, name: str, figures: Mapping[str, Any]) -> None:
        """Nothing."""


def require_tracker(report_to: str) -> None:
    """Pass ``none`` and trackers whose package is installed.

    Raises:
        TrainerError: If it is none of them, or its package is missing.
    """
    if report_to == NONE:
        return
    if report_to not in TRACKERS:
        raise TrainerError(f"--report-to {report_to} is unknown: choose {', '.join(TRACKERS)} or {NONE}")
    module, package = TRACKERS[report_to]
    if find_spec(module) is None:
        raise TrainerError(
            f"--report-to {report_to} needs the package {package}, which is not installed: "
            f"`pip install {package}` into the trainer's environment, or choose tensorboard"
        )


@contextmanager
def tracked(report_to: str, directory: Path, settings: Mapping[str, float]) -> Iterator[Tracking]:
    """Tracking for as long as the context lasts.

    Args:
        report_to: One of ``TRACKERS``, or ``none``.
        directory: Gets TensorBoard's files, and Weights & Biases' own.
        settings: Of the run.

    Raises:
        TrainerError: If there is no such tracker, or its package is missing.
    """
    require_tracker(report_to)
    if report_to == NONE:
        yield Untracked()
        return
    PartialState(cpu=not torch.cuda.is_available())  # accelerate's trackers ask it which process they are in
    tracker = _tracker(report_to, directory)
    tracker.start()
    tracker.store_init_configuration(dict(settings))
    try:
        yield _Tracked(tracker)
    finally:
        tracker.finish()


class _Tracked:
    """Numbers each entry one higher than the last: a tracker takes no step twice."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self._step = 0

    def losses(self, name: str) -> TellLoss:
        kept: list[float] = []

        def tell(loss: float) -> None:
            kept.append(loss)
            if len(kept) == _TOGETHER:
                self._log({f"{name}/loss": float(np.mean(kept))}, len(kept))
                kept.clear()

        return tell

    def figures(self, name: str, figures: Mapping[str, Any]) -> None:
        numbers = dict(_numbers(name, figures))
        if numbers:
            self._log(numbers, 1)

    def _log(self, values: dict[str, float], steps: int) -> None:
        self._step += steps
        self._tracker.log(values, step=self._step)


def _tracker(report_to: str, directory: Path) -> Any:
    directory.mkdir(parents=True, exist_ok=True)
    if report_to == "tensorboard":
        return TensorBoardTracker("train", directory)
    if report_to == "wandb":
        return WandBTracker(_PROJECT, dir=str(directory))
    return MLflowTracker(experiment_name=_PROJECT)


def _numbers(name: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{name}/{key}", value)
        elif isinstance(value, int | float) and np.isfinite(value):
            yield f"{name}/{key}", float(value)
