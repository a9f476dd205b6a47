"""Whether another worker has our static id: what the broker is asked, and what its answers mean."""

from typing import Any, NamedTuple

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.static_member import Seat, SeatTakenError, StaticHeartbeat, is_taken

SEAT = Seat("interestflow", 7, "member-1", "worker-0")


class Answer(NamedTuple):
    """Of a heartbeat."""

    error_code: int


class ToldCoordinator:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Answer | Exception) -> None:
        self._answer = answer
        self.asked: list[Any] = []

    async def _send_req(self, request: StaticHeartbeat) -> Answer:
        self.asked.append(request.prepare({12: (0, 4)}).to_object())
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("error_code", "taken"),
    [(82, True), (0, False), (25, False), (27, False), (22, False)],
    ids=["fenced instance id", "none", "unknown member", "rebalance in progress", "illegal generation"],
)
async def test_only_a_fenced_id_is_a_taken_seat(error_code: int, taken: bool) -> None:  # noqa: FBT001
    coordinator = ToldCoordinator(Answer(error_code))

    assert await is_taken(coordinator, SEAT) is taken
    assert coordinator.asked == [
        {
            "group": "interestflow",
            "generation_id": 7,
            "member_id": "member-1",
            "group_instance_id": "worker-0",
        }
    ]


async def test_a_broker_that_does_not_tell_is_left_to_the_join() -> None:
    assert not await is_taken(ToldCoordinator(GroupCoordinatorNotAvailableError()), SEAT)


def test_the_error_says_whose_seat_and_what_to_do() -> None:
    assert str(SeatTakenError("interestflow", "worker-0")) == (
        "another worker joined 'interestflow' as the static member 'worker-0' and has this one's partitions now: nothing is "
        "lost, it goes on at the committed offsets; give each worker its own INTERESTFLOW_KAFKA__GROUP_INSTANCE_ID (by "
        "default the host's name), and start this one again with it"
    )
