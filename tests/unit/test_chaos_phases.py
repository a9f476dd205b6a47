"""Where the seconds of a start go is read from the worker's log."""

from benchmarks.chaos.phases import phases

LOG = """
{"port": 9108, "event": "health_listening", "level": "info", "timestamp": "2026-11-25T18:00:02.500000Z"}
2026-11-25 18:00:03,000 WARNING aiokafka something
{"event": "recovery_began", "changelog_offsets": 12, "timestamp": "2026-11-25T18:00:04.000000Z"}
{"event": "state_recovered", "timestamp": "2026-11-25T18:00:09.000000Z"}
{"event": "partitions_assigned", "timestamp": "2026-11-25T18:00:09.260000Z"}
{"event": "recovery_began", "changelog_offsets": 0, "timestamp": "2026-11-25T18:01:00.000000Z"}
"""
SIX_P_M = 1_795_629_600_000


def test_the_first_end_of_each_phase_counts() -> None:
    assert phases(LOG, SIX_P_M) == {"process_up": 2.5, "assigned": 4.0, "recovered": 9.0, "delivering": 9.3}


def test_a_phase_that_did_not_come_is_missing() -> None:
    assert phases("worker is starting\n", SIX_P_M) == {}
