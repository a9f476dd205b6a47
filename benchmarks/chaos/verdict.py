"""What a gate found: figures, and what is wrong with them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple


class Verdict(NamedTuple):
    """One gate's result; it passes if nothing is wrong."""

    gate: str
    promise: str
    figures: Mapping[str, Any]
    problems: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether the promise was kept."""
        return not self.problems

    def document(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "pass": self.passed,
            "promise": self.promise,
            **self.figures,
            "problems": list(self.problems),
        }


def broken(gate: str, promise: str, seed: int, error: BaseException) -> Verdict:
    """The verdict of a gate that could not be finished."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    unknown = {"seed": seed, "lost": None, "counted_twice": None}
    return Verdict(gate, promise, unknown, [f"{type(error).__name__}: {error}"])


def rows(verdicts: Sequence[Verdict]) -> list[list[object]]:
    """For the table that a person reads; ``-`` where a gate has no such figure."""
    return [
        [
            verdict.gate,
            "pass" if verdict.passed else "FAIL",
            *(_cell(verdict.figures, name) for name in _COLUMNS),
        ]
        for verdict in verdicts
    ]


def _cell(figures: Mapping[str, Any], name: str) -> object:
    value = figures.get(name)
    if isinstance(value, Mapping):
        return ", ".join(f"{count:,} {reason}" for reason, count in value.items()) or 0
    return "-" if value is None else value


_COLUMNS: Final = {
    "events_in": "events in",
    "lost": "lost",
    "counted_twice": "twice",
    "updates": "updates",
    "dead_letters": "dead letters",
    "dropped_by_reason": "drops",
    "duplicates": "repeated outputs",
    "longest_stall_seconds": "longest stall s",
    "seconds": "took s",
}
HEADER: Final = ("gate", "", *_COLUMNS.values())
