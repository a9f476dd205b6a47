"""What a gate found: figures, and what is wrong with them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


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
    return Verdict(gate, promise, {"seed": seed}, [f"{type(error).__name__}: {error}"])


def rows(verdicts: Sequence[Verdict]) -> list[list[object]]:
    """For the table that a person reads; ``-`` where a gate has no such figure."""
    names = (
        "events_in",
        "lost",
        "counted_twice",
        "dead_letters",
        "duplicates",
        "longest_stall_seconds",
        "seconds",
    )
    return [
        [
            verdict.gate,
            "pass" if verdict.passed else "FAIL",
            *(verdict.figures.get(name, "-") for name in names),
        ]
        for verdict in verdicts
    ]


HEADER = (
    "gate",
    "",
    "events in",
    "lost",
    "twice",
    "dead letters",
    "repeated outputs",
    "longest stall s",
    "took s",
)
