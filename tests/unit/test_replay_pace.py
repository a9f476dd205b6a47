"""The virtual clock of a replay."""

import math

import pytest

from stream.errors import ConfigurationError
from stream.replay.pace import Pace

START_MS = 1_500_000_000_000
DAY_MS = 86_400_000


def test_history_is_sent_at_once() -> None:
    pace = Pace(start_ms=START_MS, speed=10.0)

    assert pace.wait_seconds(START_MS - 1, 1_000.0) == 0.0
    assert pace.wait_seconds(START_MS - 300 * DAY_MS, 1_000.0) == 0.0


def test_a_minute_of_event_time_takes_six_seconds_at_ten_times_the_speed() -> None:
    pace = Pace(start_ms=START_MS, speed=10.0)

    assert pace.wait_seconds(START_MS, 1_000.0) == 0.0
    assert pace.wait_seconds(START_MS + 60_000, 1_000.0) == 6.0
    assert pace.wait_seconds(START_MS + 60_000, 1_004.5) == 1.5


def test_the_clock_starts_when_history_is_over_however_long_that_took() -> None:
    pace = Pace(start_ms=START_MS, speed=2.0)

    pace.wait_seconds(START_MS - DAY_MS, 0.0)
    first_asked_at = 700.0

    assert pace.wait_seconds(START_MS + 10_000, first_asked_at) == 5.0


def test_an_overdue_event_is_sent_at_once_and_the_clock_goes_on() -> None:
    pace = Pace(start_ms=START_MS, speed=1.0)
    pace.wait_seconds(START_MS, 50.0)

    assert pace.wait_seconds(START_MS + 1_000, 53.0) == 0.0
    assert pace.wait_seconds(START_MS + 4_000, 53.0) == 1.0


def test_the_virtual_clock_runs_at_the_speed_from_the_start() -> None:
    pace = Pace(start_ms=START_MS, speed=5_000.0)

    assert pace.virtual_ms(99.0) == START_MS  # history is still being sent
    pace.wait_seconds(START_MS, 100.0)
    assert pace.virtual_ms(100.0) == START_MS
    assert pace.virtual_ms(102.5) == START_MS + 12_500_000


def test_infinite_speed_never_waits() -> None:
    pace = Pace(start_ms=START_MS, speed=math.inf)

    assert pace.wait_seconds(START_MS, 0.0) == 0.0
    assert pace.wait_seconds(START_MS + 365 * DAY_MS, 0.0) == 0.0
    assert pace.virtual_ms(5.0) == START_MS


def test_history_begins_the_asked_days_before_the_start() -> None:
    pace = Pace(start_ms=START_MS, speed=1.0, history_days=1.5)

    assert pace.history_start_ms == START_MS - 129_600_000
    assert pace.is_history(START_MS - 1)
    assert not pace.is_history(START_MS)


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
def test_a_speed_that_makes_no_clock_is_refused_with_its_value(speed: float) -> None:
    with pytest.raises(ConfigurationError, match=f"speed is {speed}; give a number above 0"):
        Pace(start_ms=START_MS, speed=speed)


@pytest.mark.parametrize("days", [-1.0, math.nan, math.inf])
def test_history_days_that_make_no_span_are_refused_with_their_value(days: float) -> None:
    with pytest.raises(ConfigurationError, match=f"history_days is {days}; give 0 or more days"):
        Pace(start_ms=START_MS, speed=1.0, history_days=days)
