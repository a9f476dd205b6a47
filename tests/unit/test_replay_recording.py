"""Which part of the recorded behaviour is replayed."""

from datetime import date

import pytest

from stream.errors import ConfigurationError
from stream.held_out import is_held_out
from stream.replay.recording import Recording, chosen_households, history_and_rest
from stream.replay.timed import TimedEvent, timed

DAY_MS = 86_400_000


def event(at_ms: int) -> TimedEvent:
    return timed({"event_type": "click", "occurred_at_ms": at_ms, "user_id": "1"})


def test_households_that_were_kept_from_training_come_first() -> None:
    first = chosen_households(5)
    all_of_them = chosen_households(10_000)

    assert first == all_of_them[:5]
    assert first == sorted(first)
    assert all(is_held_out(str(household)) for household in first)
    assert len(all_of_them) == 2469
    assert not is_held_out(str(all_of_them[-1]))


def test_history_ends_where_the_paced_part_begins_and_no_event_is_lost() -> None:
    history, rest = history_and_rest([event(1), event(2), event(3), event(4)], start_ms=3)

    assert [each.at_ms for each in history] == [1, 2]
    assert [each.at_ms for each in rest] == [3, 4]


def test_without_history_all_events_are_paced() -> None:
    history, rest = history_and_rest([event(5)], start_ms=3)

    assert (list(history), list(rest)) == ([], [event(5)])


def test_a_recording_has_the_days_and_households_that_were_chosen() -> None:
    recording = Recording(users=30, start=date(2017, 3, 2), until=date(2017, 3, 4), history_days=1)

    events = list(recording.events())

    times = [each.at_ms for each in events]
    assert times == sorted(times)
    # A visit is generated from up to 20 minutes before its basket.
    assert times[0] >= recording.start_ms - DAY_MS - 20 * 60_000
    assert times[-1] < recording.start_ms + 2 * DAY_MS
    assert {int(each.body["user_id"]) for each in events} <= set(chosen_households(30))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"users": 0}, "users is 0: a replay needs at least 1"),
        (
            {"start": date(2018, 5, 5)},
            "the replay would start on 2018-05-05, but the data runs from 2017-01-01 to 2017-12-31: give a day of it",
        ),
        (
            {"until": date(2017, 10, 30)},
            "the replay would end on 2017-10-30, which is not after its start 2017-10-30: give a later day",
        ),
        ({"speed": 0.0}, "the replay's speed is 0.0; give a number above 0, 1 is real time"),
        ({"history_days": -1.0}, "history_days is -1.0; give 0 or more days"),
    ],
)
def test_a_choice_of_nothing_is_refused_before_anything_starts(
    choice: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Recording(**choice)  # type: ignore[arg-type]

    assert str(caught.value) == message
