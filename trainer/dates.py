"""Lengths of time that every data set shares, and the days that matter of the Complete Journey's coupons."""

from datetime import UTC, date, datetime
from typing import Final

DAY_SECONDS: Final = 86_400
HORIZON_DAYS: Final = 28
#: A basket within so many days makes a household active; a purchase within it makes a category known ("novel8").
RECENT_DAYS: Final = 56
#: Coupons sent earlier met households of whom nothing was known yet.
FIRST_MAILING: Final = date(2017, 2, 1)
#: Campaigns that start before this day fit the ad response, later ones test it.
AD_TEST: Final = date(2017, 8, 1)
#: A served version is used for weeks after its tables were frozen; training ages its tables as much.
TABLE_AGE_DAYS: Final = 28


def seconds(day: date) -> int:
    """UTC epoch seconds of a day's midnight."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
