"""The time split: which cutoffs are fitted, validated and tested, all at midnight UTC.

Labels look 28 days ahead, so a fit cutoff is at least that far before the validation cutoff.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

DAY_SECONDS: Final = 86_400
HORIZON_DAYS: Final = 28
#: A basket within so many days makes a household active; a purchase within it makes a category known ("novel8").
RECENT_DAYS: Final = 56
VALIDATION: Final = date(2017, 10, 1)
TEST: Final = date(2017, 10, 29)
#: Earlier cutoffs have less history than half of the year's shoppers need.
FIRST_FIT: Final = date(2017, 5, 7)
#: Coupons sent earlier met households of whom nothing was known yet.
FIRST_MAILING: Final = date(2017, 2, 1)
#: Campaigns that start before this day fit the ad response, later ones test it.
AD_TEST: Final = date(2017, 8, 1)
#: A served version is used for weeks after its tables were frozen; training ages its tables as much.
TABLE_AGE_DAYS: Final = 28


def fit_cutoffs() -> list[date]:
    """Weekly, the last one with its labels ending where validation begins."""
    last = VALIDATION - timedelta(days=HORIZON_DAYS)
    weeks = (last - FIRST_FIT).days // 7
    return [last - timedelta(weeks=week) for week in range(weeks, -1, -1)]


def cutoffs() -> list[date]:
    """All of them in time order."""
    return [*fit_cutoffs(), VALIDATION, TEST]


def seconds(day: date) -> int:
    """UTC epoch seconds of a day's midnight."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def table_day(cutoff: date) -> date:
    """The day up to which the frozen tables may know purchases when a cutoff is scored."""
    return min(cutoff - timedelta(days=TABLE_AGE_DAYS), VALIDATION)
