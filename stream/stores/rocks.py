"""One RocksDB per partition; items and changelog offset are written in one atomic batch."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    BottommostLevelCompaction,
    Cache,
    CompactOptions,
    DbClosedError,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from stream.stores.backend import Item

#: Key spaces of one database: user keys, the offset that they stand for, and how many they are.
_ITEM: Final = b"i"
_OFFSET_KEY: Final = b"o"
_COUNT_KEY: Final = b"n"
_PURGED_KEY: Final = b"p"
_NUMBER_BYTES: Final = 8


class RocksMemory:
    """What databases hold in memory together; RocksDB's default is 160 MiB for each of them.

    What is written is counted with what is read: while much is written, less of what was read is kept. A database never
    takes less than 1 MiB for what is written.

    Args:
        most_bytes: Of all databases opened with it; at most half for what is not in files yet.
    """

    def __init__(self, most_bytes: int) -> None:
        self.blocks = Cache(most_bytes)
        self.write_buffers = WriteBufferManager.new_write_buffer_manager_with_cache(
            most_bytes // 2, allow_stall=False, cache=self.blocks
        )

    def held_bytes(self) -> int:
        """Of all databases now."""
        return int(self.blocks.get_usage())


class RocksStore:
    """A :class:`PartitionStore` on disk under ``directory/<partition>``; survives a restart of the process."""

    def __init__(self, directory: Path, memory: RocksMemory) -> None:
        self._directory = directory
        self._databases: dict[int, Rdict] = {}
        self._memory = memory
        directory.mkdir(parents=True, exist_ok=True)

    def drop_older(self, written_before_ms: int) -> list[int]:
        """Drop partitions that were last written before that wall clock; give their numbers.

        To be called before anything else, which opens databases and so writes files.
        """
        old = [
            partition
            for partition in sorted(self.partitions())
            if _last_written_ms(self._directory / str(partition)) < written_before_ms
        ]
        for partition in old:
            self.drop(partition)
        return old

    def _open(self, partition: int) -> Rdict:
        database = self._databases.get(partition)
        if database is None:
            path = self._directory / str(partition)
            database = self._databases[partition] = Rdict(str(path), self._options())
        return database

    def _options(self) -> Options:
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._memory.blocks)
        blocks.set_cache_index_and_filter_blocks(
            True
        )  # else they grow with the files, outside of what is counted
        options = Options(raw_mode=True)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self._memory.write_buffers)
        # With each change of the files; by default their list only grows, and keeps the keys of those that are gone.
        options.set_max_manifest_file_size(1)
        return options

    def _held(self, partition: int) -> Rdict | None:
        """The database of a partition that is open or on disk; asking makes none."""
        if partition in self._databases or (self._directory / str(partition)).exists():
            return self._open(partition)
        return None

    def put_batch(self, partition: int, items: Iterable[Item], changelog_offset: int) -> None:
        """Store items and the changelog offset that they reach, atomically."""
        last = dict(items)
        database = self._open(partition)
        batch, count = WriteBatch(raw_mode=True), self.count(partition)
        for key, value in last.items():
            # RocksDB's own estimate counts every overwrite: 50 times too many for users at work.
            count += (value is not None) - (_ITEM + key in database)
            if value is None:
                batch.delete(_ITEM + key)
            else:
                batch.put(_ITEM + key, value)
        before = self.persisted_offset(partition)
        reached = changelog_offset if before is None else max(changelog_offset, before)
        batch.put(_OFFSET_KEY, reached.to_bytes(_NUMBER_BYTES, "little", signed=True))
        batch.put(_COUNT_KEY, count.to_bytes(_NUMBER_BYTES, "little"))
        database.write(batch)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        database = self._held(partition)
        return None if database is None else database.get(_ITEM + key)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All items of a partition, from a snapshot."""
        database = self._held(partition)
        if database is None:
            return
        for key, value in database.snapshot().items(from_key=_ITEM):
            assert isinstance(key, bytes)
            if not key.startswith(_ITEM):
                return
            yield key[len(_ITEM) :], value

    def count(self, partition: int) -> int:
        """Number of keys."""
        database = self._held(partition)
        stored = None if database is None else database.get(_COUNT_KEY)
        return 0 if stored is None else int.from_bytes(stored, "little")

    def partitions(self) -> set[int]:
        """Partitions held, open or on disk."""
        return {int(path.name) for path in self._directory.iterdir() if path.name.isdigit()}

    def drop(self, partition: int) -> None:
        """Close and delete a partition's database."""
        database = self._databases.pop(partition, None)
        if database is not None:
            database.close()
        shutil.rmtree(self._directory / str(partition), ignore_errors=True)

    def purge(self, partition: int, keys: Sequence[bytes]) -> None:
        """Rewrite the files that may hold older values of these keys, which RocksDB keeps until it compacts them."""
        database = self._held(partition)
        if database is None:
            return
        with suppress(DbClosedError):  # the partition went meanwhile, and its files with it
            database.flush()  # the write-ahead log goes with it
            for key in keys:
                database.compact_range(_ITEM + key, _ITEM + key + b"\0", _rewriting())
            # The list of files names the first and last key of each, and is written anew before the next change only.
            for _ in range(2):
                database.put(_PURGED_KEY, b"")
                database.flush()

    def persisted_offset(self, partition: int) -> int | None:
        """The last changelog offset stored, or None."""
        database = self._held(partition)
        stored = None if database is None else database.get(_OFFSET_KEY)
        return None if stored is None else int.from_bytes(stored, "little", signed=True)

    def close(self) -> None:
        """Close all databases; their files stay."""
        for database in self._databases.values():
            database.close()
        self._databases.clear()


def _rewriting() -> CompactOptions:
    """Also the lowest level: else RocksDB may move a file as it is, with the deleted key in it."""
    options = CompactOptions()
    options.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    return options


def holds_key(path: Path, key: bytes) -> bool:
    """Whether the database of a partition at ``path`` has a value for the key; a worker may have it open."""
    database = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
    try:
        return _ITEM + key in database
    finally:
        database.close()


def _last_written_ms(directory: Path) -> int:
    return max((path.stat().st_mtime_ns // 1_000_000 for path in directory.iterdir()), default=0)
