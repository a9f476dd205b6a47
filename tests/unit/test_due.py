"""The due queue against a list that is simply searched."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream.due import DueUser, DueUsers

INTERVAL = 2.0


def keys(users: list[DueUser]) -> list[bytes]:
    return [user.key for user in users]


def test_nobody_is_due_at_first() -> None:
    due = DueUsers(INTERVAL)

    assert (len(due), due.next_in(0.0), due.oldest_since(), due.take(5, 0.0)) == (0, None, None, [])


def test_the_longest_waiting_come_first_and_no_more_than_asked_for() -> None:
    due = DueUsers(INTERVAL)
    for moment, key in enumerate((b"a", b"b", b"c")):
        due.mark(0, key, float(moment))

    assert [keys(due.take(2, 5.0)), keys(due.take(2, 5.0))] == [[b"a", b"b"], [b"c"]]


def test_the_urgent_come_before_the_rest() -> None:
    due = DueUsers(INTERVAL)
    due.mark(0, b"click", 0.0)
    due.mark(0, b"purchase", 1.0, urgent=True)

    assert keys(due.take(2, 5.0)) == [b"purchase", b"click"]


def test_news_that_is_urgent_moves_a_waiting_user_forward() -> None:
    due = DueUsers(INTERVAL)
    due.mark(0, b"a", 0.0)
    due.mark(0, b"b", 1.0)
    due.mark(0, b"b", 2.0, urgent=True)

    assert keys(due.take(5, 5.0)) == [b"b", b"a"]


def test_a_user_is_due_once_however_much_news_there_is() -> None:
    due = DueUsers(INTERVAL)
    for moment in range(4):
        due.mark(3, b"a", float(moment), appended_ms=100 + moment)

    assert len(due) == 1
    assert due.take(5, 5.0) == [DueUser(3, b"a", 100, 0.0)]
    assert due.take(5, 9.0) == []


def test_the_first_known_time_of_appending_is_kept() -> None:
    due = DueUsers(INTERVAL)
    due.mark(0, b"a", 0.0)
    due.mark(0, b"a", 1.0, appended_ms=101)

    assert due.take(1, 5.0)[0].appended_ms == 101


def test_news_of_a_user_in_hand_waits_until_he_is_done() -> None:
    due = DueUsers(0.0)
    due.mark(0, b"a", 0.0)
    (user,) = due.take(1, 1.0)
    due.mark(0, b"a", 2.0)

    assert due.take(1, 3.0) == []
    due.done(user, 4.0)
    assert due.take(1, 4.0) == [DueUser(0, b"a", 0, 2.0)]


def test_a_user_in_hand_is_due_until_he_is_done() -> None:
    due = DueUsers(0.0)
    due.mark(0, b"a", 0.0)
    (user,) = due.take(1, 1.0)

    assert (len(due), due.oldest_since(), due.next_in(1.0)) == (1, 0.0, None)
    due.done(user, 2.0)
    assert (len(due), due.oldest_since()) == (0, None)


def test_a_user_is_not_taken_twice_within_the_minimum_interval() -> None:
    due = DueUsers(INTERVAL)
    due.mark(0, b"a", 0.0)
    (user,) = due.take(1, 10.0)
    due.done(user, 10.5)
    due.mark(0, b"a", 11.0)

    assert (due.next_in(11.0), due.take(1, 11.9)) == (1.0, [])
    assert keys(due.take(1, 12.0)) == [b"a"]


def test_an_old_place_in_the_queue_lets_nobody_in_before_his_time() -> None:
    due = DueUsers(INTERVAL)
    due.mark(0, b"a", 0.0)
    due.mark(0, b"a", 0.0, urgent=True)
    (user,) = due.take(1, 0.0)
    due.done(user, 0.0)
    due.mark(0, b"a", 0.5)

    assert due.take(1, 0.5) == []
    assert keys(due.take(1, 2.0)) == [b"a"]


def test_urgent_news_of_a_user_who_has_to_wait_does_not_shorten_the_wait() -> None:
    due = DueUsers(INTERVAL)
    due.mark(0, b"a", 0.0)
    (user,) = due.take(1, 0.0)
    due.done(user, 0.0)
    due.mark(0, b"a", 0.5)
    due.mark(0, b"b", 0.6)
    due.mark(0, b"a", 1.0, urgent=True)

    assert keys(due.take(1, 1.0)) == [b"b"]
    assert (due.next_in(1.0), keys(due.take(5, 2.0)), due.take(5, 9.0)) == (1.0, [b"a"], [])


def test_a_user_who_is_tried_again_keeps_his_place_and_waits() -> None:
    due = DueUsers(0.0)
    due.mark(0, b"a", 1.0, appended_ms=7)
    (user,) = due.take(1, 2.0)

    due.done(user, 3.0, retry_in_seconds=5.0)

    assert (due.take(1, 7.9), due.oldest_since()) == ([], 1.0)
    assert due.take(1, 8.0) == [user]


def test_news_that_came_meanwhile_does_not_shorten_the_wait() -> None:
    due = DueUsers(0.0)
    due.mark(0, b"a", 1.0, appended_ms=7)
    (user,) = due.take(1, 2.0)
    due.mark(0, b"a", 2.5, appended_ms=9, urgent=True)

    due.done(user, 3.0, retry_in_seconds=5.0)

    assert due.take(1, 7.9) == []
    assert due.take(1, 8.0) == [DueUser(0, b"a", 7, 1.0)]


def test_a_user_who_moved_is_taken_on_his_new_partition() -> None:
    due = DueUsers(0.0)
    due.mark(0, b"a", 0.0)
    due.mark(1, b"a", 1.0)

    assert due.take(1, 1.0)[0].partition == 1


def test_clearing_forgets_everybody() -> None:
    due = DueUsers(0.0)
    due.mark(0, b"a", 0.0)
    due.mark(0, b"b", 0.0)
    due.take(1, 0.0)
    due.mark(0, b"a", 1.0)

    due.clear()

    assert (len(due), due.next_in(9.0), due.take(5, 9.0)) == (0, None, [])
    due.mark(0, b"a", 9.0)
    assert keys(due.take(5, 9.0)) == [b"a"]


@pytest.mark.parametrize("now", [28.98, 138.168, 1e6 + 0.3])
def test_who_was_never_scored_can_be_taken_at_once(now: float) -> None:
    due = DueUsers(3600.0)
    due.mark(0, b"a", now)

    assert due.next_in(now) == 0.0
    assert keys(due.take(1, now)) == [b"a"]


def test_times_of_scoring_are_forgotten_once_they_matter_no_more() -> None:
    due = DueUsers(INTERVAL)
    for number in range(10_002):
        due.mark(0, b"%d" % number, 0.0)
    due.take(10_002, 0.0)

    due.mark(0, b"x", 5.0)
    due.take(1, 5.0)

    assert set(due._scored_at) == {b"x"}


@dataclass
class Waiting:
    """A user in the model."""

    since: float
    appended_ms: int
    urgent: bool
    not_before: float
    rank: int


class DueMachine(RuleBasedStateMachine):
    """Steps of the worker on the queue and on a model without any cleverness."""

    def __init__(self) -> None:
        super().__init__()
        self.due = DueUsers(INTERVAL)
        self.now = 0.0
        self.waiting: dict[bytes, Waiting] = {}
        self.deferred: dict[bytes, Waiting] = {}
        self.hand: dict[bytes, DueUser] = {}
        self.scored_at: dict[bytes, float] = {}
        self.retried: set[bytes] = set()
        self.pushes = 0

    def enter(self, key: bytes, waiting: Waiting) -> None:
        self.pushes += 1
        waiting.rank = self.pushes
        self.waiting[key] = waiting

    @rule(key=st.sampled_from([b"a", b"b", b"c", b"d"]), appended_ms=st.integers(0, 5), urgent=st.booleans())
    def mark(self, key: bytes, appended_ms: int, *, urgent: bool) -> None:
        self.due.mark(0, key, self.now, appended_ms=appended_ms, urgent=urgent)
        known = self.waiting.get(key) or self.deferred.get(key)
        if known is None:
            not_before = max(self.now, self.scored_at.get(key, -INTERVAL) + INTERVAL)
            fresh = Waiting(self.now, appended_ms, urgent, not_before, 0)
            if key in self.hand:
                self.deferred[key] = fresh
            else:
                self.enter(key, fresh)
            return
        known.appended_ms = known.appended_ms or appended_ms
        if urgent and not known.urgent:
            known.urgent = True
            if key in self.waiting:
                self.enter(key, known)

    @rule(most=st.integers(1, 3))
    def take(self, most: int) -> None:
        ready = sorted(
            (not one.urgent, one.since, one.rank, key)
            for key, one in self.waiting.items()
            if one.not_before <= self.now
        )
        expected = [key for *_, key in ready[:most]]

        taken = self.due.take(most, self.now)

        assert keys(taken) == expected
        for user in taken:
            assert user.key not in self.hand, "a user must never be in two batches at once"
            assert self.now - self.scored_at.get(user.key, -INTERVAL) >= INTERVAL or user.key in self.retried
            waiting = self.waiting.pop(user.key)
            assert (user.since, user.appended_ms) == (waiting.since, waiting.appended_ms)
            self.hand[user.key] = user
            self.scored_at[user.key] = self.now
            self.retried.discard(user.key)

    @rule(data=st.data(), retry=st.none() | st.sampled_from([0.5, 3.0]))
    def done(self, data: st.DataObject, retry: float | None) -> None:
        if not self.hand:
            return
        key = data.draw(st.sampled_from(sorted(self.hand)))
        user = self.hand.pop(key)
        self.due.done(user, self.now, retry_in_seconds=retry)
        news = self.deferred.pop(key, None)
        if retry is not None:
            self.retried.add(key)
            news = news or Waiting(user.since, user.appended_ms, False, 0.0, 0)  # noqa: FBT003
            news.since = min(news.since, user.since)
            news.appended_ms = user.appended_ms or news.appended_ms
            news.not_before = self.now + retry
        if news is not None:
            self.enter(key, news)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nobody_is_lost(self) -> None:
        since = [*(one.since for one in self.waiting.values()), *(user.since for user in self.hand.values())]
        assert len(self.due) == len(since)
        assert self.due.oldest_since() == min(since, default=None)

    @invariant()
    def a_sleeper_never_sleeps_too_long(self) -> None:
        wait = self.due.next_in(self.now)
        assert (wait is None) == (not self.waiting)
        if wait is not None:
            first = min(max(one.not_before - self.now, 0.0) for one in self.waiting.values())
            assert wait <= first


TestDueMachine = DueMachine.TestCase
TestDueMachine.settings = settings(max_examples=100, stateful_step_count=40)
