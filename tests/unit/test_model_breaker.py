"""The circuit breaker, by examples and against any order of calls, outcomes and time."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream.model.breaker import Breaker, BreakerPolicy, BreakerState, Permit

POLICY = BreakerPolicy(failures=3, open_seconds=10.0)


def granted(breaker: Breaker, now: float) -> Permit:
    permit = breaker.ask(now)
    assert permit is not None
    return permit


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(POLICY.failures):
        breaker.failed(granted(breaker, at), at)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(POLICY)

    breaker.failed(granted(breaker, 0.0), 0.0)
    breaker.failed(granted(breaker, 0.0), 0.0)
    before = breaker.state(0.0)
    breaker.failed(granted(breaker, 1.0), 1.0)

    assert (before, breaker.state(1.0)) == (BreakerState.CLOSED, BreakerState.OPEN)
    assert breaker.ask(1.0) is None
    assert breaker.wait_seconds(4.0) == 7.0


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker(POLICY)

    for _ in range(5):
        breaker.failed(granted(breaker, 0.0), 0.0)
        breaker.failed(granted(breaker, 0.0), 0.0)
        breaker.succeeded(granted(breaker, 0.0))

    assert breaker.state(0.0) is BreakerState.CLOSED


def test_one_trial_goes_through_when_the_time_is_up() -> None:
    breaker = opened()

    assert breaker.ask(9.9) is None
    assert breaker.state(10.0) is BreakerState.HALF_OPEN
    assert breaker.ask(10.0) is not None
    assert breaker.ask(10.0) is None
    assert breaker.wait_seconds(10.0) == 0.0


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = opened()

    breaker.succeeded(granted(breaker, 10.0))

    assert breaker.state(10.0) is BreakerState.CLOSED
    assert breaker.wait_seconds(10.0) == 0.0
    assert breaker.ask(10.0) is not None


def test_a_trial_that_fails_opens_it_for_the_whole_time_again() -> None:
    breaker = opened()

    breaker.failed(granted(breaker, 10.0), 12.0)

    assert breaker.ask(21.9) is None
    assert breaker.ask(22.0) is not None


def test_a_cancelled_trial_leaves_its_place_to_another() -> None:
    breaker = opened()

    breaker.abandoned(granted(breaker, 10.0))

    assert breaker.state(10.0) is BreakerState.HALF_OPEN
    assert breaker.ask(10.0) is not None


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_calls_from_before_it_opened_change_nothing(outcome: str) -> None:
    breaker = Breaker(POLICY)
    late = [granted(breaker, 0.0) for _ in range(POLICY.failures)]
    for _ in range(POLICY.failures):
        breaker.failed(granted(breaker, 0.0), 0.0)

    for permit in late:
        if outcome == "succeeded":
            breaker.succeeded(permit)
        else:
            breaker.failed(permit, 9.0)

    assert breaker.wait_seconds(9.0) == 1.0


def test_a_success_from_before_it_opened_is_no_sign_of_health_after_it_closed() -> None:
    breaker = Breaker(POLICY)
    late = granted(breaker, 0.0)
    for _ in range(POLICY.failures):
        breaker.failed(granted(breaker, 0.0), 0.0)
    breaker.succeeded(granted(breaker, 10.0))

    breaker.failed(granted(breaker, 11.0), 11.0)
    breaker.failed(granted(breaker, 11.0), 11.0)
    breaker.succeeded(late)
    breaker.failed(granted(breaker, 11.0), 11.0)

    assert breaker.state(11.0) is BreakerState.OPEN


@given(
    down_seconds=st.floats(0.0, 200.0),
    pauses=st.lists(st.floats(0.001, 30.0), min_size=1, max_size=200),
)
def test_a_server_that_is_down_gets_few_calls_and_one_that_is_back_is_used_again(
    down_seconds: float, pauses: list[float]
) -> None:
    breaker, now, failed_calls, held_back_while_up = Breaker(POLICY), 0.0, 0, []

    for pause in pauses:
        now += pause
        permit = breaker.ask(now)
        if permit is None:
            if now >= down_seconds:
                held_back_while_up.append(now)
        elif now < down_seconds:
            breaker.failed(permit, now)
            failed_calls += 1
        else:
            breaker.succeeded(permit)

    assert failed_calls <= POLICY.failures + down_seconds / POLICY.open_seconds
    assert all(at < down_seconds + POLICY.open_seconds for at in held_back_while_up)


class AnyOrder(RuleBasedStateMachine):
    """Calls overlap, end in any order and late; the rules of the diagram hold all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now = 0.0
        self.under_way: list[Permit] = []
        self.trial: Permit | None = None
        self.opened_at: float | None = None

    @rule(seconds=st.floats(0.0, 15.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        before = self.breaker.state(self.now)
        permit = self.breaker.ask(self.now)
        if before is BreakerState.CLOSED:
            assert permit is not None
        elif before is BreakerState.OPEN:
            assert permit is None
        else:
            assert (permit is None) == (self.trial is not None)
            self.trial = self.trial or permit
        if permit is not None:
            self.under_way.append(permit)

    @precondition(lambda self: bool(self.under_way))
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        permit = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        is_trial, before = permit is self.trial, self.breaker.state(self.now)
        if outcome == "succeeded":
            self.breaker.succeeded(permit)
        elif outcome == "failed":
            self.breaker.failed(permit, self.now)
        else:
            self.breaker.abandoned(permit)
        after = self.breaker.state(self.now)
        if is_trial:
            self.trial = None
            expected = {"succeeded": BreakerState.CLOSED, "failed": BreakerState.OPEN}
            assert after is expected.get(outcome, BreakerState.HALF_OPEN)
        elif before is not BreakerState.CLOSED:
            assert after is before
        elif outcome != "failed":
            assert after is BreakerState.CLOSED
        if after is BreakerState.OPEN and before is not BreakerState.OPEN:
            self.opened_at = self.now

    @invariant()
    def is_open_for_exactly_its_time(self) -> None:
        if self.breaker.state(self.now) is BreakerState.OPEN:
            assert self.opened_at is not None
            assert self.now < self.opened_at + POLICY.open_seconds
            assert self.breaker.wait_seconds(self.now) == self.opened_at + POLICY.open_seconds - self.now


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
