"""What a worker does with changelogs that lost records: it goes on only where nothing is lost silently."""

from collections.abc import Mapping, Sequence

import pytest
from faust.types import TP

from stream.assignment import Assignment, AssignmentParts
from stream.metrics import Metrics
from stream.partitioner import partitioner
from stream.sources import ChangelogLostError
from stream.stall import Place, Position
from stream.stores.memory import MemoryStore
from tests.builders import FakeSender

BEHAVIOUR_1, SCORES_1 = TP("shop-user-behaviour-changelog", 1), TP("shop-user-scores-changelog", 1)
CLICK_1 = ("behaviour.click", 1)


class Group:
    """A worker's assignment, and the offsets of its group."""

    def __init__(self) -> None:
        self.behaviour, self.scores = MemoryStore(), MemoryStore()
        self.committed: dict[Place, int] = {}
        self.asked: list[Place] = []
        self.failures: list[BaseException] = []
        self.assignment = Assignment(
            AssignmentParts(
                self.behaviour, self.scores, partitioner("murmur2", 4), 0, Metrics(), self.failures.append,
                FakeSender().settle, self._positions,
            )
        )  # fmt: skip

    async def _positions(self, places: Sequence[Place]) -> Mapping[Place, Position]:
        self.asked.extend(places)
        return {place: Position(self.committed.get(place, 0), 100) for place in places}

    async def check(self, begin: int) -> Mapping[TP, int]:
        beginnings = {BEHAVIOUR_1: begin, SCORES_1: 0}
        return await self.assignment.check_changelogs(beginnings, {BEHAVIOUR_1: 90, SCORES_1: 0})


async def test_a_whole_changelog_needs_no_question() -> None:
    group = Group()

    assert await group.check(begin=0) == {}
    assert group.asked == []


async def test_a_worker_ends_if_folded_state_was_deleted() -> None:
    group = Group()
    group.committed[CLICK_1] = 7

    with pytest.raises(ChangelogLostError) as caught:
        await group.check(begin=43)

    assert group.failures == [caught.value]


async def test_the_beginning_is_committed_where_nothing_was_folded_yet() -> None:
    assert await Group().check(begin=43) == {BEHAVIOUR_1: 43}


async def test_a_store_is_let_go_once_its_loss_is_accepted() -> None:
    group = Group()
    group.committed |= {CLICK_1: 7, BEHAVIOUR_1: 43}
    group.behaviour.put_batch(1, [(b"erased meanwhile", b"old state")], 12)
    group.behaviour.put_batch(2, [(b"other", b"state")], 12)
    group.scores.put_batch(1, [(b"user", b"score")], -1)

    assert await group.check(begin=43) == {}

    assert group.behaviour.partitions() == {2}
    assert group.scores.partitions() == {1}
    assert group.failures == []


async def test_a_store_that_has_everything_is_kept() -> None:
    group = Group()
    group.committed[CLICK_1] = 7
    group.behaviour.put_batch(1, [(b"user", b"state")], 42)

    assert await group.check(begin=43) == {}

    assert group.behaviour.get(1, b"user") == b"state"
