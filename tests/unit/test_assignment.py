"""What a worker does with changelogs that lost records: it goes on only where nothing is lost silently."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from stream.assignment import Assignment, AssignmentParts
from stream.fences import FenceError
from stream.metrics import Metrics
from stream.partitioner import partitioner
from stream.rebalances import Rebalances
from stream.sender import SendAbandonedError
from stream.sources import ChangelogLostError, RecoveryIncompleteError
from stream.stall import Place, Position
from stream.stores.memory import MemoryStore
from tests.builders import FakeSender

BEHAVIOUR_1, SCORES_1 = TP("shop-user-behaviour-changelog", 1), TP("shop-user-scores-changelog", 1)
CLICK_1 = ("behaviour.click", 1)


class Generation:
    """All that is asked of a Faust app here."""

    rebalances = Rebalances()


class Group:
    """A worker's assignment, and the offsets of its group."""

    def __init__(self) -> None:
        self.behaviour, self.scores = MemoryStore(), MemoryStore()
        self.committed: dict[Place, int] = {}
        self.asked: list[Place] = []
        self.failures: list[BaseException] = []
        self.sender = FakeSender()
        self.assignment = Assignment(
            AssignmentParts(
                self.behaviour, self.scores, partitioner("murmur2", 4), 0, Metrics(), self.failures.append,
                self.sender, self._positions,
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


def taking(error: Exception | None) -> Group:
    """With an app, whose broker answers so."""
    group, app = Group(), Generation()
    told: Any = app
    group.assignment.app, group.sender.error = told, error
    return group


async def test_recovery_waits_for_the_next_assignment_if_partitions_moved_on_while_they_were_taken_over() -> (
    None
):
    group = taking(SendAbandonedError("moved"))

    with pytest.raises(RebalanceAgain):
        await group.assignment.take_over([BEHAVIOUR_1])
    assert group.failures == []


async def test_a_worker_ends_if_the_broker_shuts_nobody_out() -> None:
    group = taking(FenceError("shop-1", "no answer in 1 s"))

    with pytest.raises(FenceError) as caught:
        await group.assignment.take_over([BEHAVIOUR_1])
    assert group.failures == [caught.value]


def test_a_store_that_was_read_up_to_a_fence_need_not_read_the_fence() -> None:
    group = Group()
    group.behaviour.put_batch(1, [(b"u", b"state")], 89)
    group.scores.put_batch(1, [(b"u", b"scores")], 40)
    group.assignment._fences = {BEHAVIOUR_1: 90, SCORES_1: 50}

    group.assignment.rebalance_ended({1})

    # What is not up to date is read on from where it is.
    assert (group.behaviour.persisted_offset(1), group.scores.persisted_offset(1)) == (90, 40)
    assert dict(group.behaviour.scan(1)) == {b"u": b"state"}


def test_an_empty_store_of_an_empty_changelog_need_not_read_the_fence() -> None:
    group = Group()
    group.assignment._fences = {BEHAVIOUR_1: 0, SCORES_1: 50}

    group.assignment.rebalance_ended({1})

    assert (group.behaviour.persisted_offset(1), group.scores.persisted_offset(1)) == (0, None)


async def test_changelogs_are_read_from_where_their_stores_stand() -> None:
    group = Group()
    group.behaviour.put_batch(1, [(b"u", b"state")], 60)
    await group.check(begin=0)

    group.assignment.check_seeks({BEHAVIOUR_1: 60, SCORES_1: 0})  # the last record held, or the beginning
    with pytest.raises(
        RecoveryIncompleteError, match=r"was to be read up to 62, but the store holds it up to 60"
    ):
        group.assignment.check_seeks({BEHAVIOUR_1: 62})
    with pytest.raises(
        RecoveryIncompleteError, match=r"holds it up to None: users would silently start anew"
    ):
        group.assignment.check_seeks({SCORES_1: 3})
    assert [type(error) for error in group.failures] == [RecoveryIncompleteError] * 2


@pytest.mark.parametrize("held", [None, 88])
async def test_nothing_is_folded_before_a_store_holds_what_its_changelog_had(held: int | None) -> None:
    group = Group()
    await group.check(begin=0)
    if held is not None:
        group.behaviour.put_batch(1, [(b"u", b"state")], held)

    with pytest.raises(RecoveryIncompleteError, match=f"up to 89, but the store holds it up to {held}"):
        group.assignment.check_recovered()
    group.behaviour.put_batch(1, [], 89)
    group.assignment.check_recovered()


async def test_what_an_owner_before_wrote_until_it_was_shut_out_is_to_be_recovered_too() -> None:
    group = taking(None)
    await group.check(begin=0)
    group.sender.taken_at = {BEHAVIOUR_1: 93, SCORES_1: 0}
    assert await group.assignment.take_over([BEHAVIOUR_1, SCORES_1]) == group.sender.taken_at
    group.behaviour.put_batch(1, [(b"u", b"state")], 89)

    with pytest.raises(RecoveryIncompleteError, match="up to 92, but the store holds it up to 89"):
        group.assignment.check_recovered()


async def test_what_was_found_of_changelogs_goes_with_the_assignment() -> None:
    group = Group()
    await group.check(begin=0)
    group.assignment.rebalance_started()

    group.assignment.check_recovered()
