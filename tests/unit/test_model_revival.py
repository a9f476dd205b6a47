"""A model is loaded anew if a dead process explains its silence, and not for anything else."""

import pytest

from stream.model.failures import FailureKind
from stream.model.revival import Revival, RevivalPolicy

HEAD = "interest_head"
POLICY = RevivalPolicy(failures=3, silent_seconds=5.0, first_pause_seconds=30.0, longest_pause_seconds=100.0)


def after(*outcomes: str, first_at: float = 100.0) -> Revival:
    """Calls that ended every two seconds."""
    revival = Revival(POLICY)
    for number, outcome in enumerate(outcomes):
        revival.call_ended(HEAD, outcome, first_at + 2.0 * number)
    return revival


@pytest.mark.parametrize("kind", [FailureKind.STUB_DEAD, FailureKind.DEADLINE])
def test_three_unanswered_calls_over_five_seconds_are_a_dead_process(kind: FailureKind) -> None:
    assert after(kind, kind, kind).suspects(105.0) == [HEAD]


def test_two_unanswered_calls_are_not() -> None:
    assert after(FailureKind.DEADLINE, FailureKind.DEADLINE).suspects(200.0) == []


def test_many_unanswered_calls_within_a_moment_are_not() -> None:
    revival = Revival(POLICY)
    for _ in range(50):
        revival.call_ended(HEAD, FailureKind.DEADLINE, 100.0)

    assert revival.suspects(104.9) == []


@pytest.mark.parametrize(
    "outcome",
    ["ok", FailureKind.UNAVAILABLE, FailureKind.OVERLOADED, FailureKind.INVALID, FailureKind.NOT_FOUND],
)
def test_any_answer_of_the_server_in_between_clears_the_process(outcome: str) -> None:
    dead = FailureKind.DEADLINE

    assert after(dead, dead, outcome, dead, dead).suspects(200.0) == []


def test_a_cancelled_call_says_nothing() -> None:
    dead = FailureKind.STUB_DEAD

    assert after(dead, dead, "cancelled", dead).suspects(200.0) == [HEAD]


def test_each_model_is_judged_by_its_own_calls() -> None:
    revival = after(FailureKind.DEADLINE, FailureKind.DEADLINE, FailureKind.DEADLINE)
    revival.call_ended("behaviour_encoder", "ok", 104.0)

    assert revival.suspects(200.0) == [HEAD]


def test_a_reload_that_did_not_help_is_tried_again_later_and_later() -> None:
    revival = after(FailureKind.DEADLINE, FailureKind.DEADLINE, FailureKind.DEADLINE)
    waits = []
    now = 105.0
    for _ in range(4):
        revival.reloaded(HEAD, now)
        for _ in range(3):
            revival.call_ended(HEAD, FailureKind.DEADLINE, now)
        began = now
        while not revival.suspects(now):
            now += 1.0
        waits.append(now - began)

    assert waits == [30.0, 60.0, 100.0, 100.0]


def test_an_answer_makes_the_next_reload_prompt_again() -> None:
    revival = after(FailureKind.DEADLINE, FailureKind.DEADLINE, FailureKind.DEADLINE)
    revival.reloaded(HEAD, 105.0)

    revival.call_ended(HEAD, "ok", 107.0)
    for second in (110.0, 112.0, 115.0):
        revival.call_ended(HEAD, FailureKind.STUB_DEAD, second)

    assert revival.suspects(115.0) == [HEAD]


def test_what_a_halted_server_did_not_answer_is_not_held_against_its_processes() -> None:
    revival = after(FailureKind.DEADLINE, FailureKind.DEADLINE, FailureKind.DEADLINE)

    revival.forget()

    assert revival.suspects(200.0) == []
