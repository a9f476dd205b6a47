"""Stream time: the wall clock in production, the records' own time in a replay."""

from stream.clock import StreamTime
from tests.builders import NOW_MS, FrozenClock


def test_in_production_it_is_the_wall_clock_whatever_the_records_say() -> None:
    time = StreamTime(FrozenClock(), virtual=False)

    time.advance(NOW_MS + 5)

    assert time.now_ms() == NOW_MS


def test_in_a_replay_it_is_the_latest_record_and_never_goes_back() -> None:
    time = StreamTime(FrozenClock(), virtual=True)

    seen = []
    for record_ms in (5000, 7000, 6000):
        time.advance(record_ms)
        seen.append(time.now_ms())

    assert seen == [5000, 7000, 7000]


def test_a_replay_starts_at_zero() -> None:
    assert StreamTime(FrozenClock(), virtual=True).now_ms() == 0
