"""Until when a worker may write, and which answers of the coordinator prolong that."""

from typing import Any, NamedTuple

import pytest
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest

from stream.heartbeats import watch_heartbeats
from stream.lease import Lease
from stream.metrics import Metrics
from tests.builders import FrozenClock

SESSION_SECONDS = 10.0


class Kept(NamedTuple):
    """A lease with its clock and what it counts."""

    lease: Lease
    clock: FrozenClock
    metrics: Metrics

    def waited(self) -> float:
        return float(self.metrics.sends_held._value.get())


def kept(*, renewed: bool = True) -> Kept:
    clock, metrics = FrozenClock(), Metrics()
    lease = Lease(clock, metrics, SESSION_SECONDS)
    if renewed:
        lease.renew(lease.now())
    return Kept(lease, clock, metrics)


def test_before_the_first_partitions_are_given_there_is_nothing_to_lose() -> None:
    k = kept(renewed=False)
    k.clock.monotonic += 1_000

    assert not k.lease.is_over()


def test_it_is_over_before_the_group_can_have_given_the_partitions_away() -> None:
    k = kept()
    k.clock.monotonic += 7.99
    early = k.lease.is_over()
    k.clock.monotonic += 0.01

    assert not early
    assert k.lease.is_over()


def test_a_late_answer_to_an_early_question_takes_nothing_back() -> None:
    k = kept()
    k.lease.renew(k.clock.monotonic - 5)
    k.clock.monotonic += 7.9

    assert not k.lease.is_over()


async def test_what_is_held_leaves_when_the_group_counts_on_us_again() -> None:
    k = kept()
    k.clock.monotonic += 20
    held = k.lease.held()
    held.send(None)  # it looked once, and waits
    k.lease.renew(k.lease.now())

    with pytest.raises(StopIteration):
        held.send(None)

    assert k.waited() == 1


async def test_while_it_holds_nothing_waits() -> None:
    k = kept()

    await k.lease.held()

    assert (k.clock.slept, k.waited()) == ([], 0)


class Answer(NamedTuple):
    """Of a coordinator."""

    error_code: int


class SlowCoordinator:
    """Takes four seconds for each answer."""

    def __init__(self, clock: FrozenClock, error_code: int) -> None:
        self._clock = clock
        self._error_code = error_code

    async def _send_req(self, request: Any) -> Answer:
        self._clock.monotonic += 4
        return Answer(self._error_code)


async def test_a_heartbeat_renews_it_from_when_it_was_sent() -> None:
    k = kept()
    k.clock.monotonic += 7
    coordinator: Any = SlowCoordinator(k.clock, error_code=0)
    watch_heartbeats(coordinator, k.lease)

    await coordinator._send_req(HeartbeatRequest("group", 7, "member"))
    k.clock.monotonic += 3.9
    late = k.lease.is_over()
    k.clock.monotonic += 0.1

    assert not late
    assert k.lease.is_over()


@pytest.mark.parametrize(
    "error_code",
    [27, 25, 22, 16],
    ids=["rebalance in progress", "unknown member", "illegal generation", "moved"],
)
async def test_a_heartbeat_that_says_anything_else_does_not(error_code: int) -> None:
    k = kept()
    k.clock.monotonic += 7
    coordinator: Any = SlowCoordinator(k.clock, error_code)
    watch_heartbeats(coordinator, k.lease)

    answer = await coordinator._send_req(HeartbeatRequest("group", 7, "member"))

    assert answer == Answer(error_code)
    assert k.lease.is_over()


async def test_neither_do_other_requests() -> None:
    k = kept()
    k.clock.monotonic += 7
    coordinator: Any = SlowCoordinator(k.clock, error_code=0)
    watch_heartbeats(coordinator, k.lease)

    await coordinator._send_req(SyncGroupRequest("group", 7, "member", None, []))

    assert k.lease.is_over()
