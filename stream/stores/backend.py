"""What a store must do; the contract suite in tests/contract/test_stores.py runs on each backend."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

Item = tuple[bytes, bytes | None]


class PartitionStore(Protocol):
    """Encoded values of a table by partition, with the changelog offset that they stand for.

    A value of None deletes. Nothing here blocks on a network; a durable backend may block on its disk.
    """

    def put_batch(self, partition: int, items: Iterable[Item], changelog_offset: int) -> None:
        """Store items and the changelog offset that they reach, both or neither."""
        ...

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        ...

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All items of a partition, in no order; of an unknown partition none."""
        ...

    def count(self, partition: int) -> int:
        """Number of keys."""
        ...

    def partitions(self) -> set[int]:
        """Partitions held."""
        ...

    def drop(self, partition: int) -> None:
        """Let go of a partition that another worker owns now."""
        ...

    def purge(self, partition: int, keys: Sequence[bytes]) -> None:
        """Leave nothing of deleted keys in files; may take long, and may be called from another thread."""
        ...

    def persisted_offset(self, partition: int) -> int | None:
        """The last changelog offset stored, or None if the partition is not held: recovery starts after it."""
        ...

    def close(self) -> None:
        """Release files; the store is not used afterwards."""
        ...
