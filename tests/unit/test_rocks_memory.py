"""What RocksDB holds in memory is bounded for a table, not for each of its partitions."""

from pathlib import Path

from stream.clock import pause
from stream.stores.rocks import RocksStore

_MIB = 2**20


def test_many_partitions_share_one_write_buffer(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "table", write_buffer_bytes=2 * _MIB)
    for number in range(400):
        store.put_batch(number % 8, [(b"user-%d" % number, bytes(100_000))], number)

    # 40 MB were written, and each partition's share is far below what RocksDB flushes by itself. While the whole is too
    # much it flushes, in the background, whichever partition is written to; none ever takes less than 1 MiB.
    while store.write_buffered_bytes() > 12 * _MIB:
        for partition in range(8):
            store.put_batch(partition, [(b"another", b"")], 400)
        pause(0.05)
    store.close()


def test_what_was_written_is_there_whether_it_was_flushed_or_not(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "table", write_buffer_bytes=_MIB)
    for number in range(40):
        store.put_batch(number % 4, [(b"user-%d" % number, bytes([number]) * 100_000)], number)

    assert [store.get(number % 4, b"user-%d" % number) for number in range(40)] == [
        bytes([number]) * 100_000 for number in range(40)
    ]
    assert [store.persisted_offset(partition) for partition in range(4)] == [36, 37, 38, 39]
    store.close()
