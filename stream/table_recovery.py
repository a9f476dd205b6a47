"""Recovery of the tables, for the assignment that it was begun for and no other.

Stock Faust tells recovery of a rebalance only as the new partitions are given. Until then that of the assignment before goes on: it lets
inputs flow and calls the rebalance ended, in the middle of the next one. Inputs of partitions that come with that are
then fetched, and folded, before their state is there: users would begin anew.
"""

from typing import Any

from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP

from stream.errors import FatalError
from stream.rebalances import Rebalances


class RecoveryStepError(FatalError):
    """A broker did not answer."""

    def __init__(self, seconds: object) -> None:
        super().__init__(
            f"a step of the recovery of the state took longer than {seconds} s: a broker does not answer "
            "(INTERESTFLOW_KAFKA__REQUEST_TIMEOUT_SECONDS); nothing is lost, start the worker again"
        )


class AssignmentRecovery(Recovery):
    """Faust's recovery that stops where it stands once the next rebalance has begun."""

    _rebalances: Rebalances

    def __init__(self, *args: Any, rebalances: Rebalances, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rebalances = rebalances

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """The partitions are given: what recovers them may begin, and end the rebalance."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        self._rebalances.given()

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 - Faust's signature
        """Every step that takes time; nothing that lets anything flow comes without one before it.

        Raises:
            RebalanceAgain: If the partitions are moving.
            RecoveryStepError: If it took too long.
        """
        try:
            await super()._wait(coro, timeout)
        except ServiceStopped as error:
            if self.should_stop or self.crashed:
                raise
            # Stock Faust takes a step's time-out for the end of the service, and recovers nothing any more.
            raise RecoveryStepError(timeout) from error
        if self.signal_recovery_start.is_set() or self._rebalances.moving():
            raise RebalanceAgain
