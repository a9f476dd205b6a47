"""Checks that the state and the inputs still belong together, before anything is delivered."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from faust.types import TP

from stream.erasure.marker import is_marker_key
from stream.errors import FatalError, SourceRewoundError
from stream.events import OWNED_TOPICS
from stream.fold import source_key
from stream.partitioner import Partitioner
from stream.stall import Place, Position
from stream.state import peek_applied
from stream.stores.backend import PartitionStore


class PartitionCountChangedError(FatalError):
    """Users live on another partition than their key now hashes to."""

    def __init__(self, partition: int, home: int) -> None:
        super().__init__(
            f"the state of partition {partition} holds a user whose key now belongs to partition {home}: the partition "
            "count or the partitioner changed; restore INTERESTFLOW_KAFKA__PARTITIONS and "
            "INTERESTFLOW_KAFKA__PARTITIONER, or start with a new INTERESTFLOW_APP_ID and replay the inputs"
        )


class ChangelogRewoundError(FatalError):
    """The store holds more of a partition than its changelog: Kafka lost records, or the topic was made anew."""

    def __init__(self, tp: TP, persisted: int, end: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} ends at offset {end}, but the store holds it up to offset {persisted}: "
            "Kafka lost records of the changelog, or it was made anew. The store has what Kafka has not; to go on with "
            "what Kafka has, delete INTERESTFLOW_STORE__DIRECTORY of this worker and restart it"
        )


class ChangelogTruncatedError(FatalError):
    """Records of a changelog were deleted before the store had read them."""

    def __init__(self, tp: TP, persisted: int, begin: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} begins at offset {begin}, but the store holds it up to offset {persisted} "
            "only: what was between is deleted, so users would silently be old. A changelog must be compacted and never "
            "deleted (`interestflow topics check`); to go on with what is left, stop all workers and run `interestflow "
            "topics accept-loss`: they let go of what their stores hold of it as they start; then replay the inputs if "
            "they are still there"
        )


class ChangelogLostError(FatalError):
    """Records of a changelog were deleted, and the store holds nothing of what they said."""

    def __init__(self, tp: TP, begin: int, end: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} begins at offset {begin} and ends at {end}: what was before is deleted, the "
            "store holds nothing of it and its inputs are committed, so users would silently start anew. A changelog must "
            "be compacted and never deleted (`interestflow topics check`). If an INTERESTFLOW_STORE__DIRECTORY still has "
            "it, start the worker with that; to go on with what is left, stop all workers and run `interestflow topics "
            "accept-loss`, then replay the inputs if they are still there"
        )


class RecoveryIncompleteError(FatalError):
    """The store of a partition has not all that its changelog says, though recovery calls itself done."""

    def __init__(self, tp: TP, persisted: int | None, begin: int, upto: int) -> None:
        super().__init__(
            f"{tp.topic} partition {tp.partition} begins at offset {begin} and was to be read up to {upto}, but the store holds it up to "
            f"{persisted}: users would silently start anew, so nothing is folded. Nothing is lost; start the worker again"
        )


class Loss(NamedTuple):
    """What the group's committed offsets say of a changelog partition whose first records are deleted."""

    #: Where its log began when a person gave up what was before; 0: nobody has.
    accepted: int
    #: Inputs of that partition are folded, so that it had a state.
    is_committed: bool


def is_cut(tp: TP, persisted: int | None, begin: int, end: int) -> bool:
    """Whether records that the store of a partition needs are deleted from its changelog.

    Compaction never moves the beginning of a log; only DeleteRecords and retention do.

    Args:
        tp: The changelog's partition.
        persisted: The last offset that the store holds; None if it holds nothing.
        begin: Where the log begins.
        end: Where it ends, exclusive.

    Raises:
        ChangelogRewoundError: If it ends before what the store holds.
    """
    if persisted is not None and persisted >= end:
        raise ChangelogRewoundError(tp, persisted, end)
    return begin > (-1 if persisted is None else persisted) + 1


def unread(persisted: int | None, begin: int, end: int) -> int:
    """Offsets that recovery has yet to read; arguments as of ``is_cut``."""
    return max(0, end - max(begin, (-1 if persisted is None else persisted) + 1))


def check_loss(tp: TP, persisted: int | None, begin: int, end: int, loss: Loss) -> None:
    """Pass if a partition that ``is_cut`` may be recovered from what is left of its changelog.

    Raises:
        ChangelogTruncatedError: If the store holds an older state, and nobody gave up what is missing.
        ChangelogLostError: If it holds none though there was one, and nobody gave it up.
    """
    if loss.accepted >= begin:
        return
    if persisted is not None:
        raise ChangelogTruncatedError(tp, persisted, begin)
    if loss.is_committed:
        raise ChangelogLostError(tp, begin, end)


def places_of_losses(changelogs: Iterable[TP]) -> list[Place]:
    """The partitions whose committed offsets ``losses`` needs."""
    return sorted({(topic, tp.partition) for tp in changelogs for topic in (tp.topic, *OWNED_TOPICS)})


def losses(changelogs: Iterable[TP], positions: Mapping[Place, Position]) -> dict[TP, Loss]:
    """What the positions of the group say of each changelog partition."""
    return {
        tp: Loss(
            accepted=positions[tp.topic, tp.partition].offset,
            is_committed=any(positions[topic, tp.partition].offset > 0 for topic in OWNED_TOPICS),
        )
        for tp in changelogs
    }


def highest_applied(store: PartitionStore, partition: int) -> dict[int, int]:
    """The highest applied offset by source, over all users of a partition."""
    highest: dict[int, int] = {}
    for _, data in store.scan(partition):
        for source, offset in peek_applied(data).items():
            if offset > highest.get(source, -1):
                highest[source] = offset
    return highest


def check_homes(store: PartitionStore, partition: int, partition_of: Partitioner) -> None:
    """Refuse a partition whose users belong elsewhere now.

    One user tells: a changed count moves most keys, so a handful is looked at.

    Raises:
        PartitionCountChangedError: If a user's key belongs to another partition.
    """
    for key in _first_keys(store, partition, most=100):
        home = partition_of(key)
        if home != partition:
            raise PartitionCountChangedError(partition, home)


def safe_positions(
    positions: Mapping[TP, int], ends: Mapping[TP, int], applied: Mapping[int, Mapping[int, int]], epoch: int
) -> dict[TP, int]:
    """Where delivery may start from.

    Args:
        positions: Committed offsets, or the beginning where nothing is committed.
        ends: End offset of each input partition.
        applied: Highest applied offset by source, by partition.
        epoch: The source epoch in force.

    Returns:
        The same positions; a committed offset beyond the end of a log of a new epoch becomes 0.

    Raises:
        SourceRewoundError: If a log ends below what was applied or committed in this epoch.
    """
    safe: dict[TP, int] = {}
    for tp, position in positions.items():
        end = ends[tp]
        source = source_key(OWNED_TOPICS.index(tp.topic), tp.partition, epoch)
        highest = applied.get(tp.partition, {}).get(source, -1)
        if highest >= end:
            raise SourceRewoundError(tp.topic, tp.partition, end, highest)
        if position > end:
            if highest >= 0 or epoch == 0:
                raise SourceRewoundError(tp.topic, tp.partition, end, position - 1)
            position = 0  # noqa: PLW2901 - a new epoch starts the recreated log from its beginning
        safe[tp] = position
    return safe


def _first_keys(store: PartitionStore, partition: int, most: int) -> Iterator[bytes]:
    users = (key for key, _ in store.scan(partition) if not is_marker_key(key))
    yield from islice(users, most)
