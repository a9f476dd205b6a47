"""A circuit breaker: after some failures in a row calls are held back, then one is let through as a trial.

::

    closed ── failures in a row ──► open ── open_seconds pass ──► half-open (one trial)
       ▲                              ▲                                │
       └────────── trial succeeded ───┼────────────────────────────────┤
                                      └────────── trial failed ────────┘

Pure: the time is an argument, in seconds of any clock that never goes back.
"""

from enum import StrEnum
from typing import NamedTuple


class BreakerState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerPolicy(NamedTuple):
    """When a breaker opens and for how long."""

    failures: int = 5
    """In a row, before it opens."""
    open_seconds: float = 1.0
    """Before a trial: short, for a refused connection costs nothing and users wait for the model."""


class Permit(NamedTuple):
    """Leave to make one call; its outcome is reported with it, exactly once."""

    era: int


class Breaker:
    """State of the calls to one model."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._opened_at: float | None = None
        self._trial: Permit | None = None
        # Goes up whenever the breaker opens, closes or makes a trial: a permit of an earlier era reports
        # on a server as it was before, and is not listened to.
        self._era = 0

    def state(self, now_seconds: float) -> BreakerState:
        """Where it stands."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.wait_seconds(now_seconds) <= 0.0 else BreakerState.OPEN

    def wait_seconds(self, now_seconds: float) -> float:
        """How long calls are still held back; 0 if closed, or if a trial is due or under way."""
        if self._opened_at is None:
            return 0.0
        return max(self._opened_at + self._policy.open_seconds - now_seconds, 0.0)

    def ask(self, now_seconds: float) -> Permit | None:
        """Leave for one call, or None if it is held back."""
        match self.state(now_seconds):
            case BreakerState.CLOSED:
                return Permit(self._era)
            case BreakerState.HALF_OPEN if self._trial is None:
                self._era += 1
                self._trial = Permit(self._era)
                return self._trial
            case _:
                return None

    def succeeded(self, permit: Permit) -> None:
        """The call gave a usable answer."""
        if permit.era != self._era:
            return
        self._failures = 0
        if permit is self._trial:
            self._opened_at = self._trial = None
            self._era += 1

    def failed(self, permit: Permit, now_seconds: float) -> None:
        """The call gave none."""
        if permit.era != self._era:
            return
        self._failures += 1
        if permit is self._trial or self._failures >= self._policy.failures:
            self._trial = None
            self._opened_at = now_seconds
            self._failures = 0
            self._era += 1

    def abandoned(self, permit: Permit) -> None:
        """The call was cancelled by the caller, which says nothing of the server; another may be the trial."""
        if permit is self._trial:
            self._trial = None
            self._era += 1
