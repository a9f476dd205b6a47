"""The gates' own check finds what is lost, counted twice or told differently, and says nothing where all is well."""

from collections.abc import Callable

import orjson
import pytest

from benchmarks.chaos.accounts import Accounts, Letter, added, letter, settle
from benchmarks.chaos.feed import shoppers
from benchmarks.chaos.progress import Progress
from benchmarks.chaos.verdict import Verdict, broken, rows
from stream.dead_letter import dead_letter
from stream.decode import decode_event
from stream.errors import RejectionError
from stream.state import UserState, decode_state, encode_state
from stream.window import WindowPolicy
from tests.builders import NOW_MS, Record, event_value
from tests.reference_fold import ReferenceFold

PLACE = ("behaviour.click", 0, 3)


def reference() -> ReferenceFold:
    """Three events of one user, one of them again, and one that is no JSON."""
    fold = ReferenceFold(WindowPolicy())
    for offset, value in enumerate(
        [*(event_value(event_id=name) for name in "abc"), b"{", event_value(event_id="a")]
    ):
        fold.fold(("behaviour.click", 0, offset), NOW_MS, b"u1", value)
    return fold


def letter_of_the_bad_one() -> Letter:
    record = Record(offset=3, value=b"{")
    try:
        decode_event(record.value, record.timestamp)
    except RejectionError as error:
        told = dead_letter(record, error, "1")
    return letter((told.key, told.value), told.headers)


def accounts(change: Callable[[UserState], object] = lambda _: None, letters: int = 1) -> Accounts:
    fold = reference()
    state = decode_state(encode_state(fold.states[b"u1"]))
    change(state)
    return settle(fold, {b"u1": state}, [letter_of_the_bad_one()] * letters, [])


def test_what_the_pure_fold_gives_is_in_order() -> None:
    told = accounts()

    assert told == Accounts(5, 0, 0, 0, 1, {"duplicate": 1}, 0, 0, 0, [])
    assert told.problems() == []


def test_an_event_that_no_state_has_is_lost() -> None:
    def forget(state: UserState) -> None:
        state.revision -= 1
        del state.recent.ids[1]

    told = accounts(forget)

    assert (told.lost, told.counted_twice, told.differing_users) == (1, 0, 1)
    assert told.lost_at == ["behaviour.click/0@1"]


def test_a_whole_user_that_no_state_has_is_lost() -> None:
    told = settle(reference(), {}, [letter_of_the_bad_one()], [])

    assert (told.lost, told.counted_twice) == (3, 0)
    assert told.problems() == ["3 events were lost", "1 users' states differ from the pure fold"]


def test_an_event_applied_once_more_is_counted_twice_even_if_its_id_is_not() -> None:
    def apply_again(state: UserState) -> None:
        state.revision += 1

    assert accounts(apply_again)[1:4] == (0, 1, 1)


def test_of_a_very_busy_user_the_revision_tells_what_is_lost() -> None:
    fold = ReferenceFold(WindowPolicy())
    for offset in range(1030):
        fold.fold(("behaviour.click", 0, offset), NOW_MS, b"u1", event_value(event_id=str(offset)))
    behind = decode_state(encode_state(fold.states[b"u1"]))
    behind.revision -= 2

    assert len(fold.states[b"u1"].recent) == 1024
    assert settle(fold, fold.states, [], []).problems() == []
    assert settle(fold, {b"u1": behind}, [], []).lost == 2


def test_an_id_that_is_in_a_state_twice_is_counted_twice() -> None:
    def remember_again(state: UserState) -> None:
        state.revision += 1
        state.recent.ids.append(state.recent.ids[0])

    assert accounts(remember_again).counted_twice == 1


def test_a_bad_event_without_its_dead_letter_is_lost() -> None:
    told = accounts(letters=0)

    assert (told.lost, told.lost_at) == (1, ["behaviour.click/0@3"])


def test_a_dead_letter_of_a_good_event_is_one_too_many() -> None:
    stray = Letter(("behaviour.click", 0, 1), "json", (None, None))

    told = settle(reference(), reference().states, [letter_of_the_bad_one(), stray], [])

    assert (told.lost, told.counted_twice) == (0, 1)


def test_a_repeated_dead_letter_is_a_duplicate_and_no_fault() -> None:
    told = accounts(letters=3)

    assert (told.dead_letters, told.duplicates, told.problems()) == (1, 2, [])


def test_a_repeated_update_may_differ_in_when_it_was_sent_and_in_nothing_else() -> None:
    first = {"update_id": "x", "emitted_at_ms": 1, "interests": [1]}
    updates = [first, {**first, "emitted_at_ms": 2}, {**first, "interests": [2]}]
    fold = reference()

    told = settle(fold, fold.states, [letter_of_the_bad_one()], [orjson.dumps(one) for one in updates])

    assert (told.updates, told.duplicates, told.unlike_duplicates) == (1, 2, 1)
    assert told.problems() == ["1 repeated outputs differ from the first"]


def test_a_stall_is_the_time_in_which_something_was_to_read_and_nothing_was_committed() -> None:
    progress = Progress()
    for now, committed, end in [(0, 0, 0), (5, 0, 10), (7, 4, 10), (12, 4, 10), (15, 10, 10), (60, 10, 10)]:
        progress.look(now, {"p": committed}, {"p": end})

    assert progress.longest_stall_seconds == 8.0  # from 7 to 15
    assert (progress.committed, progress.lag) == (10, 0)


def test_stalls_of_before_can_be_forgotten() -> None:
    progress = Progress()
    for now in (0, 30):
        progress.look(now, {}, {"p": 10})
    progress.forget_stalls()
    progress.look(31, {}, {"p": 10})
    progress.look(33, {}, {"p": 10})

    assert progress.longest_stall_seconds == 2.0
    assert progress.lag == 10


def test_the_same_seed_gives_the_same_events_and_each_has_an_id_of_its_own() -> None:
    feed, again = shoppers(3, bad_share=0.0), shoppers(3, bad_share=0.0)
    events = [next(feed) for _ in range(500)]

    assert events == [next(again) for _ in range(500)]
    assert len({orjson.loads(one.value or b"")["event_id"] for one in events}) == 500


def test_a_share_of_the_events_is_bad() -> None:
    feed, fold = shoppers(3, bad_share=0.1), ReferenceFold(WindowPolicy())
    for offset, one in enumerate(next(feed) for _ in range(1000)):
        fold.fold((one.topic, one.partition, offset), one.timestamp_ms, one.key, one.value)

    assert fold.outcomes["rejected", "json"] == pytest.approx(100, abs=30)
    assert fold.outcomes.keys() == {("accepted", ""), ("rejected", "json")}


def test_a_gate_that_breaks_off_has_failed_with_the_reason_inside() -> None:
    verdict = broken("G1", "nothing is lost", 7, ExceptionGroup("tasks", [ValueError("no broker")]))

    assert not verdict.passed
    assert verdict.document() == {
        "pass": False, "promise": "nothing is lost", "seed": 7, "lost": None, "counted_twice": None,
        "problems": ["ValueError: no broker"],
    }  # fmt: skip


def test_the_table_has_a_dash_where_a_gate_has_no_figure() -> None:
    told = rows([Verdict("G3", "recovery", {"lost": 0, "seconds": 9, "dropped_by_reason": {}}, [])])

    assert told == [["G3", "pass", "-", 0, "-", "-", "-", 0, "-", "-", 9]]


def test_the_table_names_the_reasons_of_drops() -> None:
    drops = {"duplicate": 2, "quarantined bot": 1_000}

    assert (
        "2 duplicate, 1,000 quarantined bot" in rows([Verdict("G1", "", {"dropped_by_reason": drops}, [])])[0]
    )


def test_drops_of_one_outcome_are_told_apart_by_their_reason() -> None:
    fold = reference()
    fold.outcomes.update({("quarantined", "bot"): 2, ("quarantined", "crawler"): 3})

    told = settle(fold, fold.states, [letter_of_the_bad_one()], [])

    assert told.dropped_by_reason == {"duplicate": 1, "quarantined bot": 2, "quarantined crawler": 3}


def test_the_accounts_of_two_logs_are_added_up() -> None:
    told = added([accounts(), accounts(letters=2)])

    assert told == Accounts(10, 0, 0, 0, 2, {"duplicate": 2}, 0, 1, 0, [])
