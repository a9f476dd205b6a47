"""State and inputs still belong together, or the worker says why not (row 70 of the bad inputs)."""

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import SourceRewoundError
from stream.events import BROWSE_TOPIC, CLICK_TOPIC, CONTROL_TOPIC
from stream.fold import source_key
from stream.partitioner import partitioner
from stream.sources import (
    ChangelogLostError,
    ChangelogRewoundError,
    ChangelogTruncatedError,
    Loss,
    PartitionCountChangedError,
    check_homes,
    check_loss,
    highest_applied,
    is_cut,
    losses,
    places_of_losses,
    safe_positions,
    unread,
)
from stream.stall import Position
from stream.state import UserState, encode_state
from stream.stores.memory import MemoryStore

CLICK_2 = TP(CLICK_TOPIC, 2)
CONTROL_2 = TP(CONTROL_TOPIC, 2)


def store_of(partition: int, *users: tuple[bytes, dict[int, int]]) -> MemoryStore:
    """A store with the applied offsets of each user."""
    store = MemoryStore()
    items: list[tuple[bytes, bytes | None]] = []
    for key, applied in users:
        state = UserState()
        state.applied = applied
        items.append((key, encode_state(state)))
    store.put_batch(partition, items, 1)
    return store


def positions_of(
    position: int, end: int, *, applied: dict[int, int] | None = None, epoch: int = 0
) -> dict[TP, int]:
    return safe_positions({CLICK_2: position}, {CLICK_2: end}, {2: applied or {}}, epoch)


def users_of(partition: int, count: int, partitions: int) -> list[bytes]:
    """Keys that belong to a partition."""
    partition_of = partitioner("murmur2", partitions)
    keys = (f"u{number}".encode() for number in range(10_000))
    return [key for key in keys if partition_of(key) == partition][:count]


def test_the_highest_applied_offset_of_each_source_is_found() -> None:
    store = store_of(2, (b"a", {10: 5, 11: 7}), (b"b", {10: 9}), (b"c", {}), (b"d", {10: 8}))

    assert highest_applied(store, 2) == {10: 9, 11: 7}
    assert highest_applied(store, 3) == {}


@pytest.mark.parametrize("position", [0, 7, 10])
def test_delivery_goes_on_where_it_was_committed(position: int) -> None:
    assert positions_of(position, 10, applied={source_key(0, 2, 0): 9}) == {CLICK_2: position}


def test_a_log_that_ends_below_what_was_applied_is_refused_by_name() -> None:
    with pytest.raises(SourceRewoundError) as caught:
        positions_of(5, 9, applied={source_key(0, 2, 0): 9})

    assert str(caught.value) == (
        "behaviour.click partition 2 ends at offset 9, but offset 9 is already applied to the state: the topic was "
        "recreated or truncated; if that was on purpose, raise INTERESTFLOW_KAFKA__SOURCE_EPOCH by one so that its "
        "offsets count anew"
    )


def test_a_log_that_ends_below_what_was_committed_is_refused_by_name() -> None:
    with pytest.raises(SourceRewoundError, match="ends at offset 5, but offset 9 is already applied"):
        positions_of(10, 5)


def test_an_empty_recreated_log_is_refused_too() -> None:
    with pytest.raises(SourceRewoundError):
        positions_of(0, 0, applied={source_key(0, 2, 0): 0})


def test_what_was_applied_from_other_logs_does_not_matter() -> None:
    others = {source_key(1, 2, 0): 99, source_key(0, 3, 0): 99, source_key(0, 2, 1): 99}

    assert positions_of(5, 9, applied=others) == {CLICK_2: 5}


def test_a_new_epoch_starts_a_recreated_log_from_its_beginning() -> None:
    applied = {source_key(0, 2, 0): 500}

    assert positions_of(400, 9, applied=applied, epoch=1) == {CLICK_2: 0}
    assert positions_of(4, 9, applied=applied, epoch=1) == {CLICK_2: 4}


def test_a_new_epoch_protects_its_own_offsets() -> None:
    applied = {source_key(0, 2, 1): 8}

    with pytest.raises(SourceRewoundError, match="ends at offset 9, but offset 399 is already applied"):
        positions_of(400, 9, applied=applied, epoch=1)


def test_every_partition_is_looked_at() -> None:
    ends = {CLICK_2: 9, CONTROL_2: 3}

    assert safe_positions({CLICK_2: 5, CONTROL_2: 3}, ends, {}, 0) == {CLICK_2: 5, CONTROL_2: 3}
    with pytest.raises(SourceRewoundError, match=CONTROL_TOPIC):
        safe_positions({CLICK_2: 5, CONTROL_2: 4}, ends, {}, 0)


@given(
    position=st.integers(0, 20),
    end=st.integers(0, 20),
    highest=st.integers(-1, 20),
    epoch=st.integers(0, 1),
)
def test_nothing_is_skipped_without_a_word(position: int, end: int, highest: int, epoch: int) -> None:
    applied = {source_key(0, 2, epoch): highest} if highest >= 0 else {}
    try:
        start = positions_of(position, end, applied=applied, epoch=epoch)[CLICK_2]
    except SourceRewoundError:
        assert highest >= end or position > end
    else:
        assert highest < end
        assert start == (position if position <= end else 0)


def test_users_at_home_are_let_in() -> None:
    keys = users_of(2, 200, 4)

    check_homes(store_of(2, *((key, {}) for key in keys)), 2, partitioner("murmur2", 4))
    check_homes(MemoryStore(), 2, partitioner("murmur2", 4))


@pytest.mark.parametrize("count", [8, 3])
def test_a_changed_partition_count_is_refused_by_name(count: int) -> None:
    store = store_of(2, *((key, {}) for key in users_of(2, 50, 4)))

    with pytest.raises(
        PartitionCountChangedError, match="the state of partition 2 holds a user whose key now belongs"
    ):
        check_homes(store, 2, partitioner("murmur2", count))


def test_another_partitioner_is_refused_by_name() -> None:
    store = store_of(2, *((key, {}) for key in users_of(2, 50, 4)))

    with pytest.raises(PartitionCountChangedError, match="restore INTERESTFLOW_KAFKA__PARTITIONS and"):
        check_homes(store, 2, partitioner("crc32", 4))


def test_a_look_at_a_hundred_users_is_enough() -> None:
    asked: list[bytes] = []
    store = store_of(2, *((b"%d" % number, {}) for number in range(500)))

    check_homes(store, 2, lambda key: asked.append(key) or 2)  # type: ignore[func-returns-value]

    assert len(asked) == 100


def test_keys_of_sources_are_those_of_the_input_topics() -> None:
    with pytest.raises(SourceRewoundError, match=BROWSE_TOPIC):
        safe_positions({TP(BROWSE_TOPIC, 1): 0}, {TP(BROWSE_TOPIC, 1): 3}, {1: {source_key(1, 1, 0): 3}}, 0)


CHANGELOG_2 = TP("shop-user-behaviour-changelog", 2)


FOLDED = Loss(accepted=0, is_committed=True)
UNTOUCHED = Loss(accepted=0, is_committed=False)


@pytest.mark.parametrize(
    ("persisted", "begin", "end"),
    [(None, 0, 0), (None, 0, 90), (89, 0, 90), (89, 90, 90), (0, 1, 5), (-1, 0, 7), (41, 12, 90)],
)
def test_a_changelog_that_has_all_that_a_store_needs_is_not_cut(
    persisted: int | None, begin: int, end: int
) -> None:
    assert not is_cut(CHANGELOG_2, persisted, begin, end)


@pytest.mark.parametrize(
    ("persisted", "begin", "end"), [(None, 1, 1), (None, 50, 90), (41, 43, 90), (-1, 1, 7)]
)
def test_a_changelog_whose_records_were_deleted_before_a_store_had_them_is_cut(
    persisted: int | None, begin: int, end: int
) -> None:
    assert is_cut(CHANGELOG_2, persisted, begin, end)


def test_what_recovery_has_to_read_begins_after_what_is_held() -> None:
    assert [unread(None, 0, 90), unread(None, 43, 90), unread(0, 0, 90), unread(89, 0, 90)] == [90, 47, 89, 0]


def test_a_changelog_that_ends_before_what_the_store_holds_is_refused_by_name() -> None:
    with pytest.raises(ChangelogRewoundError) as caught:
        is_cut(CHANGELOG_2, 90, 0, 90)

    assert str(caught.value) == (
        "shop-user-behaviour-changelog partition 2 ends at offset 90, but the store holds it up to offset 90: Kafka lost "
        "records of the changelog, or it was made anew. The store has what Kafka has not; to go on with what Kafka has, "
        "delete INTERESTFLOW_STORE__DIRECTORY of this worker and restart it"
    )


def test_a_changelog_of_which_unread_records_were_deleted_is_refused_by_name() -> None:
    with pytest.raises(ChangelogTruncatedError) as caught:
        check_loss(CHANGELOG_2, 41, 43, 90, FOLDED)

    assert str(caught.value) == (
        "shop-user-behaviour-changelog partition 2 begins at offset 43, but the store holds it up to offset 41 only: what "
        "was between is deleted, so users would silently be old. A changelog must be compacted and never deleted "
        "(`interestflow topics check`); to go on with what is left, stop all workers and run `interestflow topics "
        "accept-loss`: they let go of what their stores hold of it as they start; then replay the inputs if they are "
        "still there"
    )


@pytest.mark.parametrize("end", [43, 90], ids=["emptied", "its first records deleted"])
def test_a_deleted_changelog_without_a_store_is_refused_by_name(end: int) -> None:
    with pytest.raises(ChangelogLostError) as caught:
        check_loss(CHANGELOG_2, None, 43, end, FOLDED)

    assert str(caught.value) == (
        f"shop-user-behaviour-changelog partition 2 begins at offset 43 and ends at {end}: what was before is deleted, the "
        "store holds nothing of it and its inputs are committed, so users would silently start anew. A changelog must be "
        "compacted and never deleted (`interestflow topics check`). If an INTERESTFLOW_STORE__DIRECTORY still has it, start "
        "the worker with that; to go on with what is left, stop all workers and run `interestflow topics accept-loss`, then "
        "replay the inputs if they are still there"
    )


def test_a_group_that_folded_nothing_of_a_partition_has_lost_nothing() -> None:
    check_loss(CHANGELOG_2, None, 43, 90, UNTOUCHED)


@pytest.mark.parametrize("persisted", [None, 12])
def test_a_loss_is_accepted_up_to_where_the_log_began_when_it_was(persisted: int | None) -> None:
    check_loss(CHANGELOG_2, persisted, 43, 90, Loss(accepted=43, is_committed=True))

    with pytest.raises((ChangelogLostError, ChangelogTruncatedError)):
        check_loss(CHANGELOG_2, persisted, 44, 90, Loss(accepted=43, is_committed=True))


def test_an_accepted_loss_is_the_committed_offset_of_the_changelog() -> None:
    other = TP("shop-user-scores-changelog", 3)
    nothing = Position(0, 100)
    positions = dict.fromkeys(places_of_losses([CHANGELOG_2, other]), nothing)
    positions[CLICK_2] = Position(7, 100)
    positions[other] = Position(43, 100)

    assert losses([CHANGELOG_2, other], positions) == {
        CHANGELOG_2: Loss(accepted=0, is_committed=True),
        other: Loss(accepted=43, is_committed=False),
    }
