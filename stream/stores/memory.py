"""Everything in dictionaries; recovered from the changelog after a restart, kept over a rebalance."""

from collections.abc import Iterable, Iterator, Sequence

from stream.stores.backend import Item


class MemoryStore:
    """A :class:`PartitionStore` in memory."""

    def __init__(self) -> None:
        self._values: dict[int, dict[bytes, bytes]] = {}
        self._offsets: dict[int, int] = {}

    def put_batch(self, partition: int, items: Iterable[Item], changelog_offset: int) -> None:
        """Store items and the changelog offset that they reach; nothing if ``items`` breaks off."""
        last = dict(items)
        values = self._values.setdefault(partition, {})
        for key, value in last.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self._offsets[partition] = max(changelog_offset, self._offsets.get(partition, -1))

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self._values.get(partition, {}).get(key)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All items of a partition as they are now; later changes don't disturb it."""
        return iter(list(self._values.get(partition, {}).items()))

    def count(self, partition: int) -> int:
        """Number of keys."""
        return len(self._values.get(partition, {}))

    def partitions(self) -> set[int]:
        """Partitions held."""
        return set(self._values)

    def drop(self, partition: int) -> None:
        """Let go of a partition."""
        self._values.pop(partition, None)
        self._offsets.pop(partition, None)

    def purge(self, partition: int, keys: Sequence[bytes]) -> None:
        """Nothing is in files."""

    def persisted_offset(self, partition: int) -> int | None:
        """The last changelog offset stored, or None."""
        return self._offsets.get(partition)

    def close(self) -> None:
        """Nothing to release."""
