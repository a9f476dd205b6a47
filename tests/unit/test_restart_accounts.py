"""The check of restarts finds what it must find: what was lost, by which start, and which commit is stuck."""

from collections import Counter

from benchmarks.chaos.restart_accounts import rate_bound, restart_accounts, start_of, summary

CLICK = ("behaviour.click", 0)
BROWSE = ("behaviour.browse", 3)
#: Ten events on each of two partitions.
LOG = {(*tp, offset): f"{tp[0]}-{offset}".encode() for tp in (CLICK, BROWSE) for offset in range(10)}
ALL_DONE = {CLICK: 10, BROWSE: 10}


def held_without(*places: tuple[str, int, int]) -> Counter[bytes]:
    return Counter(one for place, one in LOG.items() if place not in places)


def test_a_run_that_lost_nothing_says_so() -> None:
    told = restart_accounts(LOG, held_without(), [{CLICK: 4}, ALL_DONE], set())

    assert told == (20, 0, 0, 0, 0, 0, 0, 0, 0, [])


def test_what_the_group_committed_past_and_no_state_holds_is_lost() -> None:
    gone = (*CLICK, 4), (*CLICK, 5), (*BROWSE, 9)

    told = restart_accounts(LOG, held_without(*gone), [{CLICK: 4}, {CLICK: 8, BROWSE: 2}, ALL_DONE], set())

    assert told.lost == 3
    assert told.lost_at == ["behaviour.browse/3@9", "behaviour.click/0@4", "behaviour.click/0@5"]
    assert (told.restarts_with_loss, told.lost_by_first_start) == (2, 0)


def test_a_loss_belongs_to_the_start_whose_worker_committed_past_it() -> None:
    commits = [{CLICK: 4}, {CLICK: 8, BROWSE: 2}, ALL_DONE]

    assert start_of((*CLICK, 3), commits) == 0
    assert start_of((*CLICK, 4), commits) == 1
    assert start_of((*BROWSE, 1), commits) == 1
    assert start_of((*BROWSE, 2), commits) == 2


def test_the_first_start_of_a_group_is_no_restart() -> None:
    told = restart_accounts(LOG, held_without((*CLICK, 0)), [{CLICK: 4}, ALL_DONE], set())

    assert (told.lost, told.lost_by_first_start, told.restarts_with_loss) == (1, 1, 0)


def test_what_the_commit_did_not_come_to_is_not_lost() -> None:
    told = restart_accounts(LOG, held_without((*CLICK, 8), (*CLICK, 9)), [{CLICK: 8, BROWSE: 10}], set())

    assert (told.lost, told.not_reached, told.stuck_partitions) == (0, 2, 0)


def test_a_commit_that_stands_still_below_events_in_the_state_is_stuck() -> None:
    told = restart_accounts(LOG, held_without((*CLICK, 4)), [{CLICK: 4, BROWSE: 10}], set())

    assert (told.stuck_partitions, told.lost, told.not_reached) == (1, 0, 1)


def test_events_that_are_in_a_state_twice_are_counted() -> None:
    held = held_without() + Counter([LOG[*CLICK, 2], LOG[*CLICK, 2], LOG[*BROWSE, 1]])

    assert restart_accounts(LOG, held, [ALL_DONE], set()).counted_twice == 3


def test_lost_events_are_compared_with_what_the_worker_noted() -> None:
    gone = (*CLICK, 4), (*CLICK, 5)
    noted = {(*CLICK, 5), (*CLICK, 6)}  # 6 was thrown away, too, and came again

    told = restart_accounts(LOG, held_without(*gone), [{CLICK: 4}, ALL_DONE], noted)

    assert (told.noted, told.lost_and_noted) == (2, 1)


def test_nothing_met_in_thirty_trials_bounds_the_rate_by_a_tenth() -> None:
    assert rate_bound(0, 30) == 0.1
    assert rate_bound(0, 2) == 1.0
    assert rate_bound(1, 30) is None
    assert rate_bound(0, 0) is None


def test_runs_of_a_contestant_are_summed_up() -> None:
    one = {"events_in": 100, "lost": 3, "counted_twice": 0, "restarts": 5, "restarts_with_loss": 2}
    other = {"events_in": 90, "lost": 0, "counted_twice": 5, "restarts": 5, "stuck_partitions": 1}

    assert summary([one, other]) == {
        "runs": 2, "restarts": 10, "restarts_with_loss": 2, "rate_at_most": None, "runs_with_loss": 1, "runs_stuck": 1,
        "events_in": 190, "lost": 3, "lost_by_first_start": 0, "noted": 0, "lost_and_noted": 0,
        "counted_twice": 5, "stuck_partitions": 1, "each": [one, other],
    }  # fmt: skip
