"""A challenger is judged against the champion of the same minutes."""

import pytest

from stream.model.comparison import Compared
from stream.model.judgement import Bounds, Judgement, OutOfBounds, Seen
from stream.rollout import Role

BOUNDS = Bounds(window_seconds=300.0, least_calls=10, least_rows=100)


def calls(
    judgement: Judgement,
    role: Role,
    count: int,
    *,
    failed: int = 0,
    seconds: float = 0.02,
    at: float = 1000.0,
) -> None:
    for number in range(count):
        judgement.call_ended(role, at, answered=number >= failed, seconds=seconds)


def beside(**challenger: float) -> Judgement:
    """A champion of 20 good calls of 20 ms, and a challenger."""
    judgement = Judgement(BOUNDS)
    calls(judgement, "champion", 20)
    calls(judgement, "challenger", 20, **challenger)  # type: ignore[arg-type] # counts and seconds
    return judgement


def compared(rows: float = 200.0, *, difference: float = 0.01, expected: float = 1.0) -> Compared:
    """Users of whom the champion expects 3 purchases each."""
    return Compared(rows, rows * difference, rows * 0.9, rows * 3.0, rows * 3.0 * expected)


def bound(judgement: Judgement, at: float = 1000.0) -> OutOfBounds | None:
    verdict = judgement.verdict(at)
    return None if verdict is None else verdict.bound


def test_of_nothing_seen_nothing_is_said() -> None:
    assert Judgement(BOUNDS).verdict(1000.0) is None
    assert Judgement(BOUNDS).seen(1000.0) == Seen(0, None, None, None, None, 0, None, None, None)


def test_a_challenger_like_the_champion_is_within_bounds() -> None:
    judgement = beside()
    judgement.compared(compared(), 1000.0)

    assert judgement.verdict(1000.0) is None


def test_the_figures_are_means_over_the_window() -> None:
    judgement = beside(failed=5, seconds=0.04)
    judgement.compared(compared(100.0, difference=0.02), 1000.0)
    judgement.compared(compared(300.0, difference=0.06, expected=1.2), 1100.0)

    seen = judgement.seen(1100.0)

    assert (seen.calls, seen.failed_ratio, seen.champion_failed_ratio) == (20, 0.25, 0.0)
    assert (seen.mean_seconds, seen.champion_mean_seconds) == pytest.approx((0.04, 0.02))
    assert (seen.rows, seen.score_difference, seen.overlap_ratio) == pytest.approx((400, 0.05, 0.9))
    assert seen.score_ratio == pytest.approx(1.15)


def test_failed_calls_take_it_back() -> None:
    verdict = beside(failed=2).verdict(1000.0)

    assert verdict is not None
    assert verdict.bound is OutOfBounds.FAILED_CALLS
    assert verdict.detail == ("10% of the challenger's 20 calls failed, 0% of the champion's; at most 5% may")


def test_few_failed_calls_are_within_bounds() -> None:
    assert bound(beside(failed=1)) is None


def test_few_calls_say_nothing_yet() -> None:
    judgement = Judgement(BOUNDS)
    calls(judgement, "champion", 20)
    calls(judgement, "challenger", 9, failed=9)

    assert bound(judgement) is None


def test_while_the_champion_fails_as_well_nothing_is_mended_by_a_rollback() -> None:
    judgement = Judgement(BOUNDS)
    calls(judgement, "champion", 20, failed=20)
    calls(judgement, "challenger", 20, failed=20)

    assert bound(judgement) is None


def test_without_calls_of_the_champion_nobody_knows_whether_it_would_do_better() -> None:
    judgement = Judgement(BOUNDS)
    calls(judgement, "challenger", 20, failed=20)

    assert bound(judgement) is None


def test_a_call_of_more_than_twice_the_time_takes_it_back() -> None:
    assert bound(beside(seconds=0.06)) is OutOfBounds.LATENCY


def test_a_call_below_the_floor_is_never_too_slow() -> None:
    assert bound(beside(seconds=0.045)) is None


def test_slow_together_is_no_fault_of_the_challenger() -> None:
    judgement = Judgement(BOUNDS)
    calls(judgement, "champion", 20, seconds=1.0)
    calls(judgement, "challenger", 20, seconds=1.5)

    assert bound(judgement) is None


@pytest.mark.parametrize(("expected", "left"), [(1.3, True), (0.75, True), (1.2, False), (0.85, False)])
def test_expecting_far_more_or_fewer_purchases_than_the_champion_takes_it_back(
    expected: float, *, left: bool
) -> None:
    judgement = beside()
    judgement.compared(compared(expected=expected), 1000.0)

    assert bound(judgement) is (OutOfBounds.SCORE_SHIFT if left else None)


def test_scores_that_differ_much_take_it_back_though_their_sum_is_the_same() -> None:
    judgement = beside()
    judgement.compared(compared(difference=0.06), 1000.0)

    assert bound(judgement) is OutOfBounds.SCORE_DIFFERENCE


def test_scores_of_few_users_say_nothing_yet() -> None:
    judgement = beside()
    judgement.compared(compared(99.0, expected=9.0), 1000.0)

    assert bound(judgement) is None


def test_what_was_long_ago_is_forgotten() -> None:
    judgement = beside(failed=20)

    assert bound(judgement, at=1300.0) is OutOfBounds.FAILED_CALLS
    assert bound(judgement, at=1301.0) is None
    assert judgement.seen(1301.0).calls == 0
