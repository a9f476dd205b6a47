"""All gates of docs/reliability.md, in their order, and how long each may take."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from benchmarks.chaos import (
    crashes,
    figures_only,
    hot_key,
    logs,
    machine_of_faults,
    model,
    outages,
    poison,
    proofs,
    rolling,
    soak,
)
from benchmarks.chaos.arena import Run
from benchmarks.chaos.verdict import Verdict

_MINUTE: Final = 60.0


class Gate(NamedTuple):
    """How to play it, and its limit in seconds: one that takes longer hangs. More than twice what it takes undisturbed."""

    play: Callable[[Run], Awaitable[Verdict]]
    limit_seconds: float
    short_limit_seconds: float

    def limit(self, run: Run) -> float:
        """Of such a run."""
        usual = self.short_limit_seconds if run.short else self.limit_seconds
        return usual + (run.soak_minutes or 0.0) * _MINUTE


GATES: Final[dict[str, Gate]] = {
    "G1": Gate(crashes.nothing_lost, 30 * _MINUTE, 10 * _MINUTE),
    "G2": Gate(machine_of_faults.fold_under_faults, 10 * _MINUTE, 10 * _MINUTE),
    "G3": Gate(figures_only.recovery, 20 * _MINUTE, 10 * _MINUTE),
    "G4": Gate(model.model_server, 20 * _MINUTE, 10 * _MINUTE),
    "G5": Gate(rolling.rolling_restart, 20 * _MINUTE, 10 * _MINUTE),
    "G6": Gate(poison.poison, 10 * _MINUTE, 8 * _MINUTE),
    "G7": Gate(rolling.sigterm, 20 * _MINUTE, 8 * _MINUTE),
    "G8": Gate(soak.soak, 45 * _MINUTE, 8 * _MINUTE),
    "G9": Gate(hot_key.hot_key, 20 * _MINUTE, 8 * _MINUTE),
    "G10": Gate(logs.logs, 20 * _MINUTE, 10 * _MINUTE),
    "G11": Gate(outages.outages, 25 * _MINUTE, 8 * _MINUTE),
    "G12": Gate(proofs.erasure, 10 * _MINUTE, 8 * _MINUTE),
    "G13": Gate(proofs.upgrade, 3 * _MINUTE, 3 * _MINUTE),
    "G14": Gate(proofs.alerts, 3 * _MINUTE, 3 * _MINUTE),
    "G15": Gate(crashes.nothing_lost_to_the_frozen, 25 * _MINUTE, 8 * _MINUTE),
}
