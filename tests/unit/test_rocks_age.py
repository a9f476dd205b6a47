"""A store on disk is kept only while the changelog still remembers every deletion since."""

import os
from pathlib import Path

from stream.stores.rocks import RocksMemory, RocksStore

NOW_MS = 1_700_000_000_000
MEMORY = RocksMemory(2**23)


def written(directory: Path, partition: int, at_ms: int) -> None:
    """A partition whose youngest file has that age."""
    store = RocksStore(directory, MEMORY)
    store.put_batch(partition, [(b"user", b"state")], 7)
    store.close()
    for path in (directory / str(partition)).iterdir():
        os.utime(path, ns=(at_ms * 1_000_000, at_ms * 1_000_000))


def test_a_partition_that_was_written_too_long_ago_is_dropped(tmp_path: Path) -> None:
    written(tmp_path, 1, NOW_MS - 10_000)
    written(tmp_path, 2, NOW_MS - 30_000)
    store = RocksStore(tmp_path, MEMORY)

    dropped = store.drop_older(NOW_MS - 20_000)

    assert dropped == [2]
    assert store.partitions() == {1}
    assert (store.persisted_offset(1), store.persisted_offset(2)) == (7, None)


def test_of_an_empty_directory_nothing_is_dropped(tmp_path: Path) -> None:
    assert RocksStore(tmp_path, MEMORY).drop_older(NOW_MS) == []
