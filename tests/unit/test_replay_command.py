"""What `interestflow replay` takes and tells."""

from datetime import date

import pytest

from stream.errors import ConfigurationError
from stream.replay.command import ReplayOptions, day, last_day, progress_line, run_replay, summary_of
from stream.replay.producer import ReplayStats
from stream.replay.recording import Recording
from stream.settings import Settings


def test_a_day_is_read_and_anything_else_is_refused() -> None:
    assert day("2017-10-30") == date(2017, 10, 30)
    with pytest.raises(ConfigurationError) as caught:
        day("30.10.2017")

    assert str(caught.value) == "'30.10.2017' is no day: write it as 2017-10-30"


def test_a_replay_runs_until_a_day_or_to_the_end() -> None:
    assert last_day("2017-11-01") == date(2017, 11, 1)
    assert last_day("end") is None


def test_a_replay_to_a_worker_on_wall_time_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        run_replay(ReplayOptions(Recording()), Settings())

    assert str(caught.value) == (
        "INTERESTFLOW_VIRTUAL_TIME is false, so a worker counts the replay's events, which are of 2017, as late: "
        "set it to true here and for the worker, with topics that were created so"
    )


def test_figures_are_told_in_a_line_and_by_name() -> None:
    stats = ReplayStats(generated=1, history=2, virtual_ms=1_509_321_600_000, elapsed_seconds=2.0)
    stats.sent_by_topic["behaviour.click"] = 3

    assert progress_line(stats) == "2017-10-30 00:00  3 events sent, 1 of them generated, 2/s"
    assert summary_of(stats)["events"] == {"behaviour.click": 3}
    assert summary_of(stats)["events_per_second"] == 1.5
