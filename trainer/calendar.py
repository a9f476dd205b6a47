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


#: Earlier fit cutoffs have less history than half of the year's shoppers need. Six test cutoffs, because one can't tell
#: a difference of .005; the last one's labels end with the year's last whole day.
COMPLETE_JOURNEY: Final = Calendar(
    first_fit=date(2017, 5, 7),
    validation=date(2017, 10, 1),
    tests=tuple(date(2017, 10, 29) + timedelta(weeks=week) for week in range(6)),
)
