"""The parts of the replay's producer that need no broker."""

import pytest

from stream.replay.producer import ReplayStats, partition_of


@pytest.mark.parametrize(
    ("user_id", "partition"),
    [
        # Java: Utils.murmur2 of these is -973932308, -790332482 and 479470107; its sign bit is dropped
        ("21", 1_173_551_340 % 8),
        ("foobar", 1_357_151_166 % 8),
        ("abc", 479_470_107 % 8),
    ],
)
def test_users_are_placed_as_java_clients_do(user_id: str, partition: int) -> None:
    assert partition_of(user_id, 8) == partition


def test_the_rate_is_zero_before_the_replay_began() -> None:
    assert ReplayStats().events_per_second == 0.0


def test_the_rate_is_events_over_elapsed_seconds() -> None:
    stats = ReplayStats(elapsed_seconds=4.0)
    stats.sent_by_topic.update({"behaviour.click": 30, "behaviour.ad": 10})

    assert (stats.sent, stats.events_per_second) == (40, 10.0)
