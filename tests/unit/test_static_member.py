"""Whether another worker has our static id: what the broker is asked, and what its answers mean."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError, IllegalStateError
from faust.types import TP

from stream.static_member import Seat, SeatTakenError, StaticHeartbeat, StaticMemberThread, is_taken

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


class SeekingThread(StaticMemberThread):
    """Notes in which thread it seeks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.thread_loop = loop
        self.seeks: list[tuple[int, TP, int]] = []

    def seek(self, partition: TP, offset: int) -> None:
        if offset < 0:
            raise IllegalStateError(f"No current assignment for partition {partition}")
        self.seeks.append((threading.get_ident(), partition, offset))


@pytest.fixture
def fetching() -> Iterator[tuple[SeekingThread, int]]:
    """A consumer whose loop runs in a thread of its own, and that thread's number."""
    loop = asyncio.new_event_loop()
    runner = threading.Thread(target=loop.run_forever)
    runner.start()
    assert runner.ident is not None
    yield SeekingThread(loop), runner.ident
    loop.call_soon_threadsafe(loop.stop)
    runner.join()
    loop.close()


async def test_a_seek_is_made_in_the_thread_that_gives_out_what_was_fetched(
    fetching: tuple[SeekingThread, int],
) -> None:
    consumer, ident = fetching

    await consumer.seek_inside(TP("behaviour.click", 1), 7)

    assert consumer.seeks == [(ident, TP("behaviour.click", 1), 7)]


async def test_a_seek_of_a_partition_that_went_fails_as_ever(fetching: tuple[SeekingThread, int]) -> None:
    consumer, _ = fetching

    with pytest.raises(IllegalStateError, match="No current assignment"):
        await consumer.seek_inside(TP("behaviour.click", 1), -1)
