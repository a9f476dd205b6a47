"""What every partition store must do; the same on memory and on RocksDB."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.setting_sections import StoreSettings
from stream.stores.backend import Item, PartitionStore
from stream.stores.memory import MemoryStore
from stream.stores.rocks import RocksMemory, RocksStore, holds_key
from stream.stores.table import open_stores

BACKENDS = ("memory", "rocksdb")
MEMORY = RocksMemory(2**23)
NOW_MS = 1_700_000_000_000
KEYS = st.binary(max_size=4)
VALUES = st.none() | st.binary(max_size=8)


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PartitionStore]:
    where = StoreSettings(backend=request.param, directory=tmp_path / "state")
    (opened,) = open_stores(where, ["user-behaviour"], NOW_MS)
    yield opened
    opened.close()


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[[], RocksStore]]:
    """Opens one RocksDB directory again and again, closing what was open."""
    opened: list[RocksStore] = []

    def open_again() -> RocksStore:
        while opened:
            opened.pop().close()
        opened.append(RocksStore(tmp_path / "state", MEMORY))
        return opened[0]

    yield open_again
    while opened:
        opened.pop().close()


def contents(store: PartitionStore, partition: int) -> dict[bytes, bytes]:
    items = list(store.scan(partition))
    assert len(items) == len(dict(items)), "a key came twice"
    return dict(items)


def test_a_backend_is_chosen_by_name(tmp_path: Path) -> None:
    durable = open_stores(StoreSettings(backend="rocksdb", directory=tmp_path), ["a", "b"], NOW_MS)
    for store in durable:
        store.close()

    (passing,) = open_stores(StoreSettings(backend="memory", directory=tmp_path), ["x"], NOW_MS)
    assert isinstance(passing, MemoryStore)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_partition_never_written_holds_nothing(store: PartitionStore) -> None:
    assert store.get(3, b"a") is None
    assert contents(store, 3) == {}
    assert (store.count(3), store.persisted_offset(3), store.partitions()) == (0, None, set())


def test_asking_for_a_partition_does_not_make_it(store: PartitionStore) -> None:
    store.get(3, b"a")
    list(store.scan(3))
    store.drop(3)

    assert store.partitions() == set()


def test_what_was_put_is_there_under_its_partition(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1"), (b"b", b"")], 7)
    store.put_batch(2, [(b"a", b"2")], 9)

    assert (store.get(0, b"a"), store.get(0, b"b"), store.get(2, b"a"), store.get(0, b"c")) == (
        b"1", b"", b"2", None,
    )  # fmt: skip
    assert contents(store, 0) == {b"a": b"1", b"b": b""}
    assert (store.partitions(), store.persisted_offset(0), store.persisted_offset(2)) == ({0, 2}, 7, 9)


def test_the_last_value_of_a_key_counts_within_a_batch_too(store: PartitionStore) -> None:
    store.put_batch(
        0, [(b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"b", None), (b"c", None), (b"c", b"3")], 1
    )
    store.put_batch(0, [(b"a", b"4")], 2)

    assert contents(store, 0) == {b"a": b"4", b"c": b"3"}


def test_none_deletes(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1")], 1)
    store.put_batch(0, [(b"a", None), (b"never", None)], 2)

    assert (store.get(0, b"a"), contents(store, 0), store.persisted_offset(0)) == (None, {}, 2)


def test_the_offset_never_goes_back(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1")], 9)
    store.put_batch(0, [(b"a", b"2")], 4)

    assert (store.persisted_offset(0), store.get(0, b"a")) == (9, b"2")


def test_an_empty_batch_moves_the_offset(store: PartitionStore) -> None:
    store.put_batch(0, [], 5)

    assert (store.persisted_offset(0), contents(store, 0), store.partitions()) == (5, {}, {0})


def test_an_offset_of_zero_is_an_offset(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1")], 0)

    assert store.persisted_offset(0) == 0


def test_items_and_offset_are_stored_both_or_neither(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1")], 3)

    with pytest.raises(ZeroDivisionError):
        store.put_batch(0, breaking_off((b"a", b"2"), (b"b", b"2")), 8)
    with pytest.raises(ZeroDivisionError):
        store.put_batch(5, breaking_off((b"a", b"2")), 8)

    assert (contents(store, 0), store.persisted_offset(0), store.count(0)) == ({b"a": b"1"}, 3, 1)
    assert (store.persisted_offset(5), store.partitions()) == (None, {0})


def breaking_off(*items: Item) -> Iterator[Item]:
    yield from items
    raise ZeroDivisionError


def test_a_scan_shows_one_moment_while_writing_goes_on(store: PartitionStore) -> None:
    before = {b"%03d" % number: b"old" for number in range(100)}
    store.put_batch(0, list(before.items()), 1)

    scan = store.scan(0)
    seen = dict([next(scan)])
    store.put_batch(0, [(key, b"new") for key in before], 2)
    store.put_batch(0, [(b"050", None), (b"999", b"new")], 3)
    seen.update(scan)

    assert seen == before
    assert contents(store, 0)[b"999"] == b"new"


def test_the_offset_is_no_item_whatever_the_keys(store: PartitionStore) -> None:
    keys = [b"", b"o", b"i", b"n", b"\x00", b"\xff" * 8, b"offset"]
    store.put_batch(0, [(key, key + b"!") for key in keys], 77)

    assert contents(store, 0) == {key: key + b"!" for key in keys}
    assert store.persisted_offset(0) == 77


def test_a_dropped_partition_is_gone_and_can_come_again(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1")], 7)
    store.put_batch(1, [(b"b", b"1")], 8)

    store.drop(0)

    assert (store.get(0, b"a"), contents(store, 0), store.persisted_offset(0)) == (None, {}, None)
    assert (store.partitions(), contents(store, 1)) == ({1}, {b"b": b"1"})
    store.put_batch(0, [(b"c", b"2")], 2)
    assert (contents(store, 0), store.persisted_offset(0)) == ({b"c": b"2"}, 2)


def test_keys_are_counted(store: PartitionStore) -> None:
    store.put_batch(0, [(b"%d" % number, b"x") for number in range(20)], 1)

    store.put_batch(0, [(b"1", b"y"), (b"2", None), (b"99", None), (b"20", b"x"), (b"20", b"y")], 2)

    assert store.count(0) == 20


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(
        st.tuples(
            st.integers(0, 2), st.lists(st.tuples(KEYS, VALUES), max_size=6) | st.none(), st.integers(0, 50)
        ),
        max_size=12,
    )
)
def test_any_batches_leave_what_a_dictionary_would_hold(
    tmp_path_factory: pytest.TempPathFactory,
    backend: str,
    batches: list[tuple[int, list[tuple[bytes, bytes | None]] | None, int]],
) -> None:
    store = MemoryStore() if backend == "memory" else RocksStore(tmp_path_factory.mktemp("rocks"), MEMORY)
    model: dict[int, dict[bytes, bytes]] = {}
    offsets: dict[int, int] = {}
    for partition, items, offset in batches:
        if items is None:
            store.drop(partition)
            model.pop(partition, None)
            offsets.pop(partition, None)
            continue
        store.put_batch(partition, items, offset)
        held = {**model.get(partition, {}), **dict(items)}
        model[partition] = {key: value for key, value in held.items() if value is not None}
        offsets[partition] = max(offset, offsets.get(partition, -1))

    for partition in range(3):
        assert contents(store, partition) == model.get(partition, {})
        assert store.persisted_offset(partition) == offsets.get(partition)
        assert store.count(partition) == len(model.get(partition, {}))
    assert store.partitions() == set(model)
    store.close()


def test_rocksdb_keeps_items_and_offset_over_a_restart(reopen: Callable[[], RocksStore]) -> None:
    store = reopen()
    store.put_batch(0, [(b"a", b"1"), (b"b", b"2")], 7)
    store.put_batch(0, [(b"b", None)], 8)
    store.put_batch(3, [(b"c", b"3")], 2**40)

    store = reopen()

    assert (contents(store, 0), contents(store, 3)) == ({b"a": b"1"}, {b"c": b"3"})
    assert (store.persisted_offset(0), store.persisted_offset(3), store.partitions()) == (8, 2**40, {0, 3})
    assert (store.count(0), store.count(3)) == (1, 1)


def test_rocksdb_forgets_what_was_dropped_over_a_restart(reopen: Callable[[], RocksStore]) -> None:
    store = reopen()
    store.put_batch(0, [(b"a", b"1")], 7)
    store.drop(0)

    assert reopen().partitions() == set()


def test_rocksdb_drops_what_it_has_not_opened(reopen: Callable[[], RocksStore]) -> None:
    reopen().put_batch(0, [(b"a", b"1")], 7)

    store = reopen()
    store.drop(0)

    assert (store.partitions(), reopen().persisted_offset(0)) == (set(), None)


def test_rocksdb_lets_go_of_its_files_when_it_is_closed(tmp_path: Path) -> None:
    first = RocksStore(tmp_path, MEMORY)
    first.put_batch(0, [(b"a", b"1")], 7)

    first.close()

    second = RocksStore(tmp_path, MEMORY)  # while the first is still there
    assert second.get(0, b"a") == b"1"
    second.close()


def test_a_store_can_be_closed_twice(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1")], 7)

    store.close()
    store.close()


def test_a_purge_leaves_everything_that_was_not_deleted(store: PartitionStore) -> None:
    store.put_batch(0, [(b"a", b"1"), (b"b", b"2")], 0)
    store.put_batch(0, [(b"a", None)], 1)

    store.purge(0, [b"a"])
    store.purge(7, [b"a"])

    assert (contents(store, 0), store.count(0), store.persisted_offset(0)) == ({b"b": b"2"}, 1, 1)


def test_rocksdb_has_nothing_of_a_purged_key_in_its_files(
    reopen: Callable[[], RocksStore], tmp_path: Path
) -> None:
    store = reopen()
    for offset in range(3):
        store.put_batch(0, [(b"a", b"secret-%d" % offset), (b"b", b"kept")], offset)
    store.put_batch(0, [(b"a", None)], 3)
    before = _files_with(tmp_path / "state", b"secret-")

    store.purge(0, [b"a"])

    assert before
    assert _files_with(tmp_path / "state", b"secret-") == []
    assert holds_key(tmp_path / "state" / "0", b"b")
    assert not holds_key(tmp_path / "state" / "0", b"a")


@pytest.mark.parametrize("flushed", [False, True])
def test_rocksdb_has_not_even_the_key_of_what_was_purged(
    reopen: Callable[[], RocksStore], tmp_path: Path, *, flushed: bool
) -> None:
    """Also when the deletion itself is all that a file holds of it."""
    store = reopen()
    store.put_batch(0, [(b"person-to-forget", b"1"), (b"other", b"2")], 0)
    if flushed:
        store.purge(0, [])
    store.put_batch(0, [(b"person-to-forget", None)], 1)

    store.purge(0, [b"person-to-forget"])

    assert _files_with(tmp_path / "state", b"person-to-forget") == []
    assert _files_with(tmp_path / "state", b"other")


def _files_with(directory: Path, words: bytes) -> list[str]:
    return [path.name for path in directory.rglob("*") if words in _content(path)]


def _content(path: Path) -> bytes:
    """Nothing of a directory, and of a file that RocksDB renames or deletes meanwhile."""
    try:
        return path.read_bytes()
    except (IsADirectoryError, FileNotFoundError):
        return b""
