"""A worker without a model scores nobody, and still ends every erasure."""

import asyncio
from typing import Any

import pytest

from stream.due import DueUser
from stream.erasure.burial import Burial
from stream.events import UPDATES_TOPIC
from stream.live import LiveStates
from stream.metrics import Metrics
from stream.publisher import Publisher, PublishParts
from stream.score_record import ScoreRecord, encode_record, forgotten
from stream.sender import OutRecord, SendAbandonedError
from stream.state import UserState, encode_state
from stream.stores.memory import MemoryStore
from stream.ties import Ties
from stream.withdrawing import DueWithdrawals, Withdrawer
from tests.builders import NOW_MS, FakeSender, FrozenClock, never

CHANGELOG = "scores-changelog"
STATE_CHANGELOG = "behaviour-changelog"


class Bench:
    """A worker's parts without a model; users that are refused are given by their states."""

    def __init__(self) -> None:
        self.behaviour, self.scores, self.sender = MemoryStore(), MemoryStore(), FakeSender()
        self.refused: set[bytes] = set()
        burial = Burial(
            self.behaviour, self.sender, LiveStates(self.behaviour, 10), asyncio.Lock(), STATE_CHANGELOG
        )
        parts = PublishParts(
            self.behaviour, self.scores, self.sender, FrozenClock(), Metrics(), burial, self._is_refused
        )
        self.due = DueWithdrawals(self.behaviour, self._is_refused)
        self.withdrawer = Withdrawer(Publisher(parts, CHANGELOG), self.behaviour, self._is_refused)

    def _is_refused(self, data: bytes) -> bool:
        return data in self.refused

    def knows(self, key: bytes, state: UserState | None, *, is_refused: bool = False) -> None:
        """A user with scores from when there was a model."""
        if state is not None:
            data = encode_state(state)
            self.behaviour.put_batch(1, [(key, data)], 0)
            if is_refused:
                self.refused.add(data)
        self.scores.put_batch(1, [(key, encode_record(ScoreRecord()))], 0)

    def taken(self, *keys: bytes) -> list[DueUser]:
        """Whom of these the loop would deal with."""
        for key in keys:
            self.due.mark(1, key, 0.0)
        return self.due.take(10, 0.0)


def state(revision: int, **changes: Any) -> UserState:
    made = UserState()
    made.revision = revision
    for name, value in changes.items():
        setattr(made, name, value)
    return made


async def test_an_erased_user_is_withdrawn_and_the_plain_key_goes_from_the_state() -> None:
    bench = Bench()
    bench.knows(b"u1", state(7, erased_at_ms=NOW_MS))

    assert await bench.withdrawer.score(bench.taken(b"u1"), never) == []

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"u1", None)]
    assert bench.sender.records(CHANGELOG) == [OutRecord(b"u1", None)]
    assert bench.sender.records(STATE_CHANGELOG) == [OutRecord(b"u1", None)]
    assert bench.behaviour.get(1, b"u1") is None
    assert bench.scores.get(1, b"u1") is None


async def test_of_a_forgotten_user_the_last_update_is_withdrawn() -> None:
    bench = Bench()
    bench.knows(b"u1", None)

    await bench.withdrawer.score(bench.taken(b"u1"), never)

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"u1", None)]


async def test_who_may_not_be_profiled_is_withdrawn_and_stays_known() -> None:
    bench = Bench()
    bench.knows(b"u1", state(7), is_refused=True)

    await bench.withdrawer.score(bench.taken(b"u1"), never)

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"u1", None)]
    assert bench.scores.get(1, b"u1") == encode_record(forgotten(7))
    assert bench.behaviour.get(1, b"u1") is not None


async def test_who_was_merged_into_another_user_is_withdrawn_and_goes_on_as_a_redirect() -> None:
    bench = Bench()
    bench.knows(b"visitor", state(7, ties=Ties(b"u1")))
    redirect = bench.behaviour.get(1, b"visitor")

    await bench.withdrawer.score(bench.taken(b"visitor"), never)

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"visitor", None)]
    assert bench.scores.get(1, b"visitor") == encode_record(forgotten(7))
    assert bench.behaviour.get(1, b"visitor") == redirect


async def test_all_others_are_never_due() -> None:
    bench = Bench()
    bench.knows(b"u1", state(7))

    assert bench.taken(b"u1") == []
    assert len(bench.due) == 0


async def test_who_came_back_meanwhile_is_left_alone() -> None:
    bench = Bench()
    bench.knows(b"u1", None)
    due = bench.taken(b"u1")
    bench.knows(b"u1", state(8))

    await bench.withdrawer.score(due, never)

    assert bench.sender.logs == {}


async def test_nothing_is_withdrawn_once_the_partitions_moved() -> None:
    bench = Bench()
    bench.knows(b"u1", None)

    with pytest.raises(SendAbandonedError):
        await bench.withdrawer.score(bench.taken(b"u1"), lambda: True)

    assert bench.sender.logs == {}
