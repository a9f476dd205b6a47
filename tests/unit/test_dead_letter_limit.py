"""The dead-letter limit: trips when almost everything of a topic is bad, and never for a burst of poison."""

import pytest

from stream.dead_letter import ATTEMPT_HEADER, REASON_HEADER
from stream.dead_letter_limit import DeadLetterLimit, LimitRules
from stream.errors import DeadLetterLimitError, FatalError
from stream.events import BROWSE_TOPIC, CLICK_TOPIC
from stream.settings import Settings

DEFAULTS = Settings().dead_letter.limit()
Letters = list[list[tuple[str, bytes]]]


def letters(count: int, reason: bytes = b"json", attempt: bytes = b"1") -> Letters:
    return [[(REASON_HEADER, reason), (ATTEMPT_HEADER, attempt)]] * count


def trips_after(limit: DeadLetterLimit, *, partitions: int, bundle: int, most: int = 200_000) -> int:
    """Rejected records, and nothing else, in bundles of all partitions in turn, until it trips."""
    for number in range(most // bundle):
        try:
            limit.note(CLICK_TOPIC, number % partitions, bundle, letters(bundle))
        except DeadLetterLimitError:
            return (number + 1) * bundle
    raise AssertionError("never tripped")


def good(limit: DeadLetterLimit, *, partitions: int, records: int = 10_000) -> None:
    for partition in range(partitions):
        limit.note(CLICK_TOPIC, partition, records, [])


def test_the_defaults_are_those_that_are_reasoned_about_here() -> None:
    assert DEFAULTS == LimitRules() == (0.9, 1000)


@pytest.mark.parametrize(("partitions", "bundle"), [(1, 1), (4, 100), (4, 8000), (16, 1000)])
def test_a_topic_that_is_bad_from_the_start_trips_it_after_ten_windows(partitions: int, bundle: int) -> None:
    tripped = trips_after(DeadLetterLimit(DEFAULTS), partitions=partitions, bundle=bundle)

    assert 10_000 <= tripped < 10_000 + bundle


@pytest.mark.parametrize(("partitions", "at_most"), [(1, 2400), (4, 9600), (16, 38_400)])
def test_a_topic_that_turns_bad_trips_it_after_some_two_windows_of_each_partition(
    partitions: int, at_most: int
) -> None:
    limit = DeadLetterLimit(DEFAULTS)
    good(limit, partitions=partitions)

    assert at_most * 0.9 < trips_after(limit, partitions=partitions, bundle=10) <= at_most


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.85])
@pytest.mark.parametrize("bundle", [20, 500, 8000])
def test_row_67_poison_mixed_into_good_traffic_never_trips_it(share: float, bundle: int) -> None:
    limit = DeadLetterLimit(DEFAULTS)

    for number in range(200):
        limit.note(CLICK_TOPIC, number % 4, bundle, letters(int(bundle * share)))


@pytest.mark.parametrize("partitions", [4, 16])
def test_a_backlog_of_nothing_but_poison_on_one_partition_does_not_trip_it(partitions: int) -> None:
    limit = DeadLetterLimit(DEFAULTS)

    for _ in range(10):  # each poll gives the one partition's records, then some of the others
        limit.note(CLICK_TOPIC, 0, 8000, letters(8000))
        for partition in range(1, partitions):
            limit.note(CLICK_TOPIC, partition, 500, [])


def test_partitions_of_which_nothing_comes_any_more_hide_nothing() -> None:
    limit = DeadLetterLimit(DEFAULTS)
    good(limit, partitions=4)

    assert trips_after(limit, partitions=1, bundle=1000) == pytest.approx(101_000, abs=40_000)


def test_few_records_never_trip_it_however_bad() -> None:
    limit = DeadLetterLimit(DEFAULTS)

    for _ in range(9):
        limit.note(CLICK_TOPIC, 0, 1000, letters(1000))
    limit.note(CLICK_TOPIC, 0, 999, letters(999))


def test_another_topics_good_records_hide_nothing_and_its_bad_ones_accuse_nobody() -> None:
    limit = DeadLetterLimit(LimitRules(0.9, 10))
    for _ in range(100):
        limit.note(BROWSE_TOPIC, 0, 100, [])

    with pytest.raises(DeadLetterLimitError):
        limit.note(CLICK_TOPIC, 0, 100, letters(100))
    limit.note(BROWSE_TOPIC, 0, 9, letters(8))


def test_what_was_replayed_and_is_rejected_again_does_not_count() -> None:
    limit = DeadLetterLimit(LimitRules(0.9, 10))

    for _ in range(50):
        limit.note(CLICK_TOPIC, 0, 100, letters(100, attempt=b"2"))


def test_a_ratio_of_0_turns_it_off() -> None:
    limit = DeadLetterLimit(LimitRules(0.0, 10))

    for _ in range(50):
        limit.note(CLICK_TOPIC, 0, 100, letters(100))


def test_a_share_just_at_the_limit_trips_it_and_one_below_does_not() -> None:
    DeadLetterLimit(LimitRules(0.9, 10)).note(CLICK_TOPIC, 0, 1000, letters(899))
    with pytest.raises(DeadLetterLimitError):
        DeadLetterLimit(LimitRules(0.9, 10)).note(CLICK_TOPIC, 0, 1000, letters(900))


def test_the_error_names_topic_reason_and_counts_and_says_what_to_do() -> None:
    with pytest.raises(DeadLetterLimitError) as caught:
        DeadLetterLimit(LimitRules(0.9, 10)).note(
            CLICK_TOPIC, 0, 1000, [*letters(300, b"utf8"), *letters(650, b"type")]
        )

    error = caught.value
    assert isinstance(error, FatalError)
    assert (error.topic, error.rejected, error.records) == (CLICK_TOPIC, {"type": 650, "utf8": 300}, 1000)
    assert str(error) == (
        "95% of the last records of behaviour.click were rejected, most for type: 650 of 1000 since this worker started; "
        "the last bundle was neither dead-lettered nor acked. Read some with `interestflow dlq list --topic "
        "behaviour.click --reason type`, mend the producer or the settings and start the worker again; "
        "INTERESTFLOW_DEAD_LETTER__LIMIT_RATIO=0 dead-letters everything"
    )
