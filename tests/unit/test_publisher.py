"""What SCORE sends: outputs that fit, letters for those that don't, and tombstones for whom FOLD forgot."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream.ads.decision import AdDecision
from stream.dead_letter import REASON_HEADER
from stream.due import DueUser
from stream.erasure.burial import Burial
from stream.events import DEAD_LETTER_TOPIC, DECISIONS_TOPIC, UPDATES_TOPIC
from stream.interest_update import InterestUpdate
from stream.live import LiveStates
from stream.metrics import Metrics
from stream.publisher import Erased, Publisher, PublishParts, Result
from stream.score_record import ScoreRecord, encode_record, forgotten
from stream.sender import MAX_BATCH_BYTES, OutRecord
from stream.state import UserState, encode_state
from stream.stores.memory import MemoryStore
from tests.builders import FakeSender, FrozenClock, never

CHANGELOG = "scores-changelog"
WHO = DueUser(1, b"u1", 0, 0.0)


class Bench:
    """A publisher with all that it works with."""

    def __init__(self) -> None:
        self.behaviour, self.scores, self.sender, self.metrics = (
            MemoryStore(), MemoryStore(), FakeSender(), Metrics(),
        )  # fmt: skip
        live, busy = LiveStates(self.behaviour, 10), asyncio.Lock()
        burial = Burial(self.behaviour, self.sender, live, busy, "behaviour-changelog")
        self.refused = False
        parts = PublishParts(
            self.behaviour,
            self.scores,
            self.sender,
            FrozenClock(),
            self.metrics,
            burial,
            lambda _: self.refused,
        )
        self.publisher = Publisher(parts, CHANGELOG)

    def knows(self, *, state: bool, record: bool) -> None:
        if state:
            self.behaviour.put_batch(1, [(b"u1", encode_state(UserState()))], 0)
        if record:
            self.scores.put_batch(1, [(b"u1", encode_record(ScoreRecord()))], 0)


def output(size: int) -> Any:
    """An output of so many bytes; what is in it does not matter here."""
    return SimpleNamespace(to_bytes=lambda: b"x" * size, bid=None, candidates=[])


def result(update_bytes: int, decision_bytes: int) -> Result:
    update = cast("InterestUpdate", output(update_bytes))
    decision = cast("AdDecision", output(decision_bytes))
    return Result(WHO, ScoreRecord(), update, decision, "model")


async def test_row_12_an_output_that_no_request_holds_becomes_a_dead_letter_and_the_rest_goes_out() -> None:
    bench = Bench()
    bench.knows(state=True, record=False)

    await bench.publisher.publish([result(10, MAX_BATCH_BYTES)], [], never)

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"u1", b"x" * 10)]
    assert bench.sender.records(DECISIONS_TOPIC) == []
    (letter,) = bench.sender.records(DEAD_LETTER_TOPIC)
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (b"u1", b"x" * 1024)
    assert (headers[REASON_HEADER], headers["__streams.errors.offset"]) == (b"output_too_large", b"-1")
    assert headers["__streams.errors.message"].decode() == (
        "a record for ads.decisions has 900002 bytes, one request holds 900000; a decision lists every campaign: "
        "end some"
    )
    assert bench.metrics.dead_letters.labels(DECISIONS_TOPIC, "output_too_large")._value.get() == 1
    assert len(bench.sender.records(CHANGELOG)) == 1


async def test_an_output_of_exactly_the_limit_goes_out() -> None:
    bench = Bench()
    bench.knows(state=True, record=False)

    await bench.publisher.publish([result(10, MAX_BATCH_BYTES - 2)], [], never)

    assert len(bench.sender.records(DECISIONS_TOPIC)) == 1
    assert bench.sender.records(DEAD_LETTER_TOPIC) == []


async def test_row_61_the_last_update_of_a_forgotten_user_is_withdrawn_and_the_own_record_deleted() -> None:
    bench = Bench()
    bench.knows(state=False, record=True)

    await bench.publisher.publish([], [Erased(WHO, None)], never)

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"u1", None)]
    assert bench.sender.records(CHANGELOG) == [OutRecord(b"u1", None)]
    assert bench.scores.get(1, b"u1") is None


@pytest.mark.parametrize(("state", "record"), [(True, True), (False, False)])
async def test_row_61_nothing_is_withdrawn_of_who_is_back_or_was_never_heard_of(
    *, state: bool, record: bool
) -> None:
    bench = Bench()
    bench.knows(state=state, record=record)

    await bench.publisher.publish([], [Erased(WHO, None)], never)

    assert bench.sender.records(UPDATES_TOPIC) == []
    assert (bench.scores.get(1, b"u1") is not None) is record


async def test_a_result_of_a_user_who_withdrew_meanwhile_is_dropped() -> None:
    bench = Bench()
    bench.knows(state=True, record=True)
    bench.refused = True

    await bench.publisher.publish([result(10, 10)], [], never)

    assert bench.sender.records(UPDATES_TOPIC) == []
    assert bench.metrics.dropped_results.labels("no_consent")._value.get() == 1


async def test_of_a_user_who_may_not_be_profiled_the_update_is_withdrawn_once_and_the_state_stays() -> None:
    bench = Bench()
    bench.knows(state=True, record=True)

    await bench.publisher.publish([], [Erased(WHO, 0, is_known=True)], never)

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"u1", None)]
    assert bench.scores.get(1, b"u1") == encode_record(forgotten(0))
    assert bench.behaviour.get(1, b"u1") == encode_state(UserState())


async def test_an_erased_user_is_published_forgotten_and_buried() -> None:
    bench = Bench()
    bench.knows(state=False, record=True)
    marker = UserState()
    marker.revision, marker.erased_at_ms = 7, 1
    bench.behaviour.put_batch(1, [(b"u1", encode_state(marker))], 0)

    await bench.publisher.publish([], [Erased(WHO, 7)], never)

    assert bench.sender.records(UPDATES_TOPIC) == [OutRecord(b"u1", None)]
    assert bench.sender.records(CHANGELOG) == [OutRecord(b"u1", None)]
    assert bench.sender.records("behaviour-changelog") == [OutRecord(b"u1", None)]
    assert (bench.scores.get(1, b"u1"), bench.behaviour.get(1, b"u1")) == (None, None)
