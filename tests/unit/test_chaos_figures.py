"""What G4, G8 and G9 make of their measurements: a leak is seen, noise is none, and what can't be told is said."""

import math
from itertools import islice

import pytest

from benchmarks.chaos.hot_key import HOT, Heated, Waits, figures_of, p99
from benchmarks.chaos.hot_key import judged as hot_key_judged
from benchmarks.chaos.soak import Sample, judged, visitors
from benchmarks.chaos.trend import by_minute, trend
from benchmarks.slow_model import judged as slow_model_judged

_MINUTES = 25


def soaked(mib_per_hour: float, noise_mib: float, users: float = 300.0) -> list[Sample]:
    """A look every five seconds; the noise goes up and down every two minutes."""
    return [
        Sample(5.0 * n, 100.0 + mib_per_hour * n / 720 + noise_mib * (-1) ** (n // 24), users, 0.0)
        for n in range(_MINUTES * 12)
    ]


def test_the_slope_of_a_line_is_sure() -> None:
    told = trend([(minute * 60.0, 7.0 + minute) for minute in range(10)])

    assert told == pytest.approx((60.0, 0.0))


def test_noise_makes_a_slope_unsure_and_neighbours_that_are_alike_make_it_less_sure() -> None:
    quick = trend([(minute * 60.0, float(minute % 2)) for minute in range(24)])
    slow = trend([(minute * 60.0, float(minute // 3 % 2)) for minute in range(24)])

    assert quick.least < 0.0 < quick.most
    assert slow.uncertainty > 1.4 * quick.uncertainty


def test_nothing_is_known_of_the_slope_of_three_points() -> None:
    assert trend([(0.0, 1.0), (60.0, 2.0), (120.0, 3.0)]).uncertainty == math.inf


def test_what_comes_and_goes_within_a_minute_is_no_trend() -> None:
    assert by_minute([(0.0, 1.0), (20.0, 90.0), (40.0, 2.0), (60.0, 5.0)]) == [(0.0, 2.0), (60.0, 5.0)]


def test_a_soak_that_is_flat_passes_and_one_that_leaks_does_not() -> None:
    assert judged(soaked(0.5, 0.2)) == []
    assert judged(soaked(30.0, 0.2))[0].startswith("memory grows by 29.9 ± ")


def test_a_soak_with_too_much_noise_says_that_it_can_not_tell() -> None:
    assert judged(soaked(0.0, 20.0))[0].startswith("can't tell: ")


def test_a_table_that_grows_beyond_its_cap_is_told() -> None:
    assert judged(soaked(0.0, 0.1, users=320.0)) == []
    assert judged(soaked(0.0, 0.1, users=321.0)) == ["321 users are held, 300 may be, and 20 for a moment"]


def test_guests_come_once_and_regulars_again() -> None:
    keys = [fed.key for fed in islice(visitors(7), 1_000)]
    guests = [key for key in keys if key.startswith(b"guest-")]

    assert (len(guests), len(set(guests))) == (100, 100)
    assert len(set(keys) - set(guests)) == 100


def test_a_share_of_the_events_is_of_the_hot_user() -> None:
    source = Heated(7)
    even = sum(fed.key == HOT for fed in islice(source, 1_000))
    source.share = 0.3
    hot = [fed for fed in islice(source, 1_000) if fed.key == HOT]

    assert even < 5
    assert 250 < len(hot) < 350
    assert {fed.partition for fed in hot} == {source.home}


def test_the_99th_percentile_of_a_hundred_waits_is_the_longest() -> None:
    assert (p99([float(wait) for wait in range(100)]), p99([]), p99([0.0])) == (99.0, 1.0, 1.0)


def test_one_bad_pair_of_windows_decides_nothing() -> None:
    calm, busy = Waits([10.0], [20.0]), Waits([90.0], [30.0])
    figures = figures_of([(calm, calm), (calm, busy), (calm, calm)])

    assert figures["ratio_by_pair"] == [1.0, 4.5, 1.0]
    assert hot_key_judged(figures) == []
    assert hot_key_judged(figures_of([(calm, busy)])) == [
        "the others' p99 is 4.5 times what it is without the hot user (median of pairs)"
    ]


def test_a_queue_that_grows_with_the_events_is_told() -> None:
    bounded = {"most_due_users": 5_000.0, "own_mib_halfway": 180.0, "own_mib_at_end": 190.0}
    growing = {"most_due_users": 5_001.0, "own_mib_halfway": 180.0, "own_mib_at_end": 200.0}

    assert slow_model_judged({"late": bounded}) == []
    assert slow_model_judged({"late": growing}) == [
        "late: 5001 due users, there are 5000", "late: memory grew by 20 MiB in the last half",
    ]  # fmt: skip
