"""What RocksDB holds in memory is bounded for a worker, not for each partition of each table."""

from pathlib import Path

from stream.clock import pause
from stream.stores.rocks import RocksMemory, RocksStore

_MIB = 2**20


def test_partitions_of_several_tables_share_what_is_written_to_memory(tmp_path: Path) -> None:
    memory = RocksMemory(4 * _MIB)
    tables = [RocksStore(tmp_path / name, memory) for name in ("one", "other")]
    for number in range(400):
        tables[number % 2].put_batch(number % 8, [(b"user-%d" % number, bytes(100_000))], number)

    # 40 MB were written, and each partition's share is far below what RocksDB flushes by itself. While the whole is too
    # much it flushes, in the background, whichever partition is written to; none ever takes less than 1 MiB.
    while memory.held_bytes() > 12 * _MIB:
        for number in range(8):
            tables[number % 2].put_batch(number, [(b"another", b"")], 400)
        pause(0.05)
    for table in tables:
        table.close()


def test_what_was_read_is_held_within_the_same_bound(tmp_path: Path) -> None:
    memory = RocksMemory(8 * _MIB)
    table = RocksStore(tmp_path / "table", memory)
    for number in range(400):
        table.put_batch(number % 2, [(b"user-%d" % number, number.to_bytes(2, "little") * 50_000)], number)
    for partition in range(2):
        table.purge(partition, [])  # into files

    for number in range(400):
        assert table.get(number % 2, b"user-%d" % number) == number.to_bytes(2, "little") * 50_000

    # 40 MB were read; the write buffers of two open databases are in it.
    assert 4 * _MIB < memory.held_bytes() <= 12 * _MIB
    table.close()


def test_what_was_written_is_there_whether_it_was_flushed_or_not(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "table", RocksMemory(2 * _MIB))
    for number in range(40):
        store.put_batch(number % 4, [(b"user-%d" % number, bytes([number]) * 100_000)], number)

    assert [store.get(number % 4, b"user-%d" % number) for number in range(40)] == [
        bytes([number]) * 100_000 for number in range(40)
    ]
    assert [store.persisted_offset(partition) for partition in range(4)] == [36, 37, 38, 39]
    store.close()
