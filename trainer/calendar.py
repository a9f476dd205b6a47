"""The time split of one data set: which cutoffs are fitted, validated and tested, all at midnight UTC.

Labels look 28 days ahead, so a fit cutoff is at least that far before the validation cutoff, and a test cutoff that far
after it: what was fitted and chosen knows nothing of what is tested.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final

from trainer.dates import HORIZON_DAYS, TABLE_AGE_DAYS, seconds
from trainer.errors import TrainerError

#: Before the first fit cutoff: frozen tables that are as old as a served version's, and a week for them to know of.
_LEAST_HISTORY_DAYS: Final = TABLE_AGE_DAYS + 7
#: With the labels of one fit cutoff, of validation and of test.
LEAST_DAYS: Final = _LEAST_HISTORY_DAYS + 3 * HORIZON_DAYS
_MOST_TESTS: Final = 6
#: Half of a year's shoppers have enough history then.
_MOST_HISTORY_DAYS: Final = 126


@dataclass(frozen=True, slots=True)
class Calendar:
    """The cutoffs of one data set.

    Args:
        first_fit: The earliest cutoff; shoppers need some history before it.
        validation: Every choice is made on the 28 days from it.
        tests: In time order; their labels may overlap, held-out shoppers' figures are pooled over them.

    Raises:
        TrainerError: If labels of one part would reach into the next.
    """

    first_fit: date
    validation: date
    tests: tuple[date, ...]

    def __post_init__(self) -> None:
        horizon = timedelta(days=HORIZON_DAYS)
        if self.first_fit + horizon > self.validation:
            raise TrainerError(
                f"labels of the first fit cutoff {self.first_fit} end {self.first_fit + horizon}, after validation begins "
                f"({self.validation}): begin at least {HORIZON_DAYS} days earlier"
            )
        if not self.tests or self.validation + horizon > self.tests[0]:
            raise TrainerError(
                f"labels of the validation cutoff {self.validation} end {self.validation + horizon}, after the first test "
                f"cutoff ({self.tests[0] if self.tests else 'there is none'}): test from there on"
            )
        if any(later <= earlier for earlier, later in pairwise(self.tests)):
            raise TrainerError(f"test cutoffs must be in time order, each once: {self._days(self.tests)}")

    @property
    def test(self) -> date:
        """The test cutoff that follows validation at once."""
        return self.tests[0]

    @property
    def end_seconds(self) -> int:
        """Where the last labels end, UTC epoch."""
        return seconds(self.tests[-1] + timedelta(days=HORIZON_DAYS))

    def fit_cutoffs(self) -> list[date]:
        """Weekly, the last one with its labels ending where validation begins."""
        last = self.validation - timedelta(days=HORIZON_DAYS)
        weeks = (last - self.first_fit).days // 7
        return [last - timedelta(weeks=week) for week in range(weeks, -1, -1)]

    def cutoffs(self) -> list[date]:
        """All of them in time order."""
        return [*self.fit_cutoffs(), self.validation, *self.tests]

    def table_day(self, cutoff: date) -> date:
        """The day up to which the frozen tables may know purchases when a cutoff is scored."""
        return min(cutoff - timedelta(days=TABLE_AGE_DAYS), self.validation)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "first_fit": self.first_fit.isoformat(),
            "validation": self.validation.isoformat(),
            "tests": [day.isoformat() for day in self.tests],
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Calendar":
        """What ``document`` gave."""
        return cls(
            first_fit=date.fromisoformat(document["first_fit"]),
            validation=date.fromisoformat(document["validation"]),
            tests=tuple(date.fromisoformat(day) for day in document["tests"]),
        )

    @staticmethod
    def _days(days: tuple[date, ...]) -> str:
        return ", ".join(day.isoformat() for day in days)


def calendar_of(first: date, last: date) -> Calendar:
    """The calendar of a data set, by whole weeks from its first purchase on.

    The last labels end with the last whole week. Up to six weekly test cutoffs, one more per four weeks that there are beyond
    the least, because one cutoff can't tell a small difference. Fit cutoffs begin when half of the days up to the last of
    them are history, after 18 weeks at most.

    Args:
        first: Day of the first purchase, UTC.
        last: Day of the last one, which need not be whole.

    Raises:
        TrainerError: If there is too little data; says how much more is needed.
    """
    days = (last - first).days // 7 * 7
    if days < LEAST_DAYS:
        raise TrainerError(
            f"purchases from {first} to {last} are {days} days of whole weeks, and {LEAST_DAYS} are needed ({_LEAST_HISTORY_DAYS} of "
            f"history and 28 each of fitted labels, validation and test): {LEAST_DAYS - days} days are missing"
        )
    horizon = timedelta(days=HORIZON_DAYS)
    more_tests = min((days - LEAST_DAYS) // 28, _MOST_TESTS - 1)
    first_test = first + timedelta(days=days - 7 * more_tests) - horizon
    last_fit = first_test - 2 * horizon
    half = -((first - last_fit).days // 14) * 7  # whole weeks, rounded up
    return Calendar(
        first_fit=first + timedelta(days=min(max(half, _LEAST_HISTORY_DAYS), _MOST_HISTORY_DAYS)),
        validation=first_test - horizon,
        tests=tuple(first_test + timedelta(weeks=week) for week in range(more_tests + 1)),
    )
