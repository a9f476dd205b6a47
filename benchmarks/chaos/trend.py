"""How fast something grows, and how sure that is; pure."""

import math
import statistics
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Final, NamedTuple

#: Of the 95 % interval; for the dozen of points and more that it is used with.
_STANDARD_ERRORS: Final = 2.1
#: A line goes through any two points: with fewer than this nothing is known of the error.
_LEAST_POINTS: Final = 4


class Trend(NamedTuple):
    """A slope per hour with its 95 % interval, which is infinite where the samples tell nothing."""

    per_hour: float
    uncertainty: float

    @property
    def least(self) -> float:
        """The lower end of the interval."""
        return self.per_hour - self.uncertainty

    @property
    def most(self) -> float:
        """The upper end of the interval."""
        return self.per_hour + self.uncertainty


def by_minute(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(seconds, size) as one median per minute: what comes and goes within a minute is no trend."""
    medians = []
    for minute, group in groupby(samples, lambda sample: sample[0] // 60):
        medians.append((minute * 60.0, statistics.median(size for _, size in group)))
    return medians


def trend(samples: Sequence[tuple[float, float]]) -> Trend:
    """Of (seconds, size): the least-squares line.

    Neighbouring samples of a memory are alike, and then count for less than as many independent ones: the error grows by
    what the lag-1 correlation of the residuals says.
    """
    if len(samples) < _LEAST_POINTS:
        return Trend(0.0, math.inf)
    hours = [seconds / 3_600 for seconds, _ in samples]
    sizes = [size for _, size in samples]
    line = statistics.linear_regression(hours, sizes)
    rest = [size - line.slope * hour - line.intercept for hour, size in zip(hours, sizes, strict=True)]
    squares = sum(one * one for one in rest)
    middle = statistics.fmean(hours)
    error = math.sqrt(squares / (len(rest) - 2) / sum((hour - middle) ** 2 for hour in hours))
    alike = sum(one * other for one, other in pairwise(rest)) / squares if squares else 0.0
    alike = min(max(alike, 0.0), 0.9)
    return Trend(line.slope, _STANDARD_ERRORS * error * math.sqrt((1 + alike) / (1 - alike)))
