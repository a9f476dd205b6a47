"""Standing still: only with something to do, only over time that was watched."""

from stream.stall import Position, Stall, StallWatch, Stopwatch

CLICK = ("behaviour.click", 0)
BROWSE = ("behaviour.browse", 3)


def test_a_stall_ages_from_the_first_look_that_saw_it() -> None:
    watch = Stopwatch(20.0)

    ages = [watch.look(now, 5, behind=True) for now in (100.0, 110.0, 125.0)]

    assert ages == [0.0, 10.0, 25.0]


def test_progress_ends_a_stall_even_if_it_goes_back() -> None:
    watch = Stopwatch(20.0)
    watch.look(0.0, 5, behind=True)
    watch.look(10.0, 5, behind=True)

    assert [watch.look(20.0, 4, behind=True), watch.look(30.0, 4, behind=True)] == [0.0, 10.0]


def test_who_has_nothing_to_do_stands_not_still() -> None:
    watch = Stopwatch(20.0)
    watch.look(0.0, 5, behind=False)

    assert watch.look(1000.0, 5, behind=False) == 0.0
    assert watch.look(1010.0, 5, behind=True) == 0.0
    assert watch.look(1020.0, 5, behind=True) == 10.0


def test_time_that_was_not_watched_counts_for_one_step_only() -> None:
    watch = Stopwatch(20.0)
    watch.look(0.0, 5, behind=True)

    assert watch.look(3600.0, 5, behind=True) == 20.0


def test_the_partition_that_stood_still_longest_is_named_with_its_offsets() -> None:
    watch = StallWatch(20.0)
    watch.look(0.0, {CLICK: Position(5, 9), BROWSE: Position(1, 9)})
    watch.look(10.0, {CLICK: Position(5, 9), BROWSE: Position(2, 9)})
    watch.look(20.0, {CLICK: Position(5, 12), BROWSE: Position(2, 9)})

    assert watch.longest() == Stall(CLICK, Position(5, 12), 20.0)
    assert watch.ages() == {CLICK: 20.0, BROWSE: 10.0}


def test_a_partition_that_went_and_came_back_starts_anew() -> None:
    watch = StallWatch(20.0)
    watch.look(0.0, {CLICK: Position(5, 9)})
    watch.look(10.0, {CLICK: Position(5, 9)})
    watch.look(15.0, {})
    watch.look(20.0, {CLICK: Position(5, 9)})

    assert watch.ages() == {CLICK: 0.0}
    assert watch.longest() is None


def test_without_partitions_nothing_stands_still() -> None:
    watch = StallWatch(20.0)
    watch.look(0.0, {})

    assert (watch.ages(), watch.longest()) == ({}, None)
