"""Loads models of Triton anew whose python process died; see ``stream.model.revival`` for when."""

import structlog

from stream.clock import Clock
from stream.errors import ModelUnavailableError
from stream.metrics import Metrics
from stream.model.control import RepositoryControl
from stream.model.revival import Revival, RevivalPolicy

log = structlog.get_logger(__name__)


class Reviver:
    """Is told of every call of one pair of model versions, and acts when asked to look.

    Args:
        control: None: repository control is not allowed, so that a dead process is only counted.
        clock: For the pauses.
        metrics: Where reloads are counted.
    """

    def __init__(self, control: RepositoryControl | None, clock: Clock, metrics: Metrics) -> None:
        self._control = control
        self._clock = clock
        self._metrics = metrics
        self._revival = Revival(RevivalPolicy())

    def call_ended(self, model: str, outcome: str) -> None:
        """See ``ModelObserver``."""
        self._revival.call_ended(model, outcome, self._clock.monotonic_seconds())

    async def look(self) -> None:
        """Load anew what seems dead on a server that is up."""
        suspects = self._revival.suspects(self._clock.monotonic_seconds())
        if not suspects:
            return
        if self._control is None:
            self._note(suspects, "not_allowed")
        elif not await self._control.is_live():
            # Halted or unreachable as a whole: what its models would say is not known.
            self._revival.forget()
        else:
            for model in suspects:
                await self._reload(self._control, model)

    async def _reload(self, control: RepositoryControl, model: str) -> None:
        log.warning("model_reload_started", model=model)
        try:
            await control.reload(model)
        except ModelUnavailableError as error:
            log.warning("model_reload_failed", model=model, error=str(error))
            self._note([model], "failed")
        else:
            self._note([model], "ok")

    def _note(self, models: list[str], outcome: str) -> None:
        for model in models:
            self._metrics.model_reloads.labels(model, outcome).inc()
            self._revival.reloaded(model, self._clock.monotonic_seconds())
