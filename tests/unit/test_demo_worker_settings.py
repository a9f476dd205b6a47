"""The settings of the demo's worker."""

import math

from stream.demo.stack import review_hours
from stream.demo.worker_child import worker_settings


def test_the_users_settings_of_other_servers_do_not_reach_the_demo() -> None:
    ours = {
        "INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS": "production:9092",
        "INTERESTFLOW_KAFKA__SECURITY_PROTOCOL": "SSL",
        "PATH": "/bin",
    }

    changes = worker_settings(ours, {"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1234"})

    assert changes == {
        "INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1234",
        "INTERESTFLOW_KAFKA__SECURITY_PROTOCOL": None,
    }


def test_the_users_settings_of_scoring_and_ads_hold_in_the_demo_too() -> None:
    ours = {"INTERESTFLOW_SCORE__MIN_INTERVAL_SECONDS": "7", "INTERESTFLOW_ADS__FLOOR_CPM": "5"}

    changes = worker_settings(ours, {"SCORE__MIN_INTERVAL_SECONDS": "0.1", "VIRTUAL_TIME": "true"})

    assert changes == {"INTERESTFLOW_VIRTUAL_TIME": "true"}


def test_quiet_users_are_reviewed_daily_unless_a_day_is_over_too_quickly() -> None:
    assert review_hours(5000.0) == 24.0
    assert review_hours(24_000.0) == 100.0
    assert review_hours(math.inf) == 2160.0
