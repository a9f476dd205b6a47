"""How long a run has trained, over all its parts: a run that was killed goes on counting where its checkpoint stood."""

from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stream.clock import SystemClock

_SECONDS: Final = "train_seconds"


class Stopwatch(TrainerCallback):
    """Writes the seconds so far into each entry of the run's log; looks at the validation month count too."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._before = 0.0
        self._began = 0.0

    @property
    def seconds(self) -> float:
        """Since the run began, without the time between a kill and its resumption."""
        return self._before + self._clock.monotonic_seconds() - self._began

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Go on from what the checkpoint's log says."""
        del args, control, parts
        self._before = max((entry.get(_SECONDS, 0.0) for entry in state.log_history), default=0.0)
        self._began = self._clock.monotonic_seconds()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Note the seconds."""
        del args, control, parts
        state.log_history[-1][_SECONDS] = round(self.seconds, 1)
