"""What Faust's recovery does with our stores."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.types import TP

from stream.stores.memory import MemoryStore
from stream.stores.table import ChangelogStore, ChangelogTable

CHANGELOG = "interestflow-user-behaviour-changelog"


class Recovered:
    """Counts how often recovery was reported."""

    def __init__(self) -> None:
        self.times = 0
        self.records: list[tuple[str, int]] = []

    def read_back(self, table: str, records: int) -> None:
        self.records.append((table, records))

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
async def table_over() -> Callable[[MemoryStore, Recovered], ChangelogTable]:
    app = faust.App("interestflow", broker="kafka://127.0.0.1:1", web_enabled=False, autodiscover=False)

    def build(store: MemoryStore, recovered: Recovered) -> ChangelogTable:
        return ChangelogTable(
            app,
            name="user-behaviour",
            partitions=4,
            store=store,
            on_recovered=recovered,
            on_read_back=recovered.read_back,
        )

    return build


def backend(table: ChangelogTable) -> ChangelogStore:
    store = table.data
    assert isinstance(store, ChangelogStore)
    return store


def changes(partition: int, *records: tuple[int, bytes, bytes | None], end: int | None = None) -> Any:
    """A bundle of the transport, as Faust's recovery hands it on."""
    value = [SimpleNamespace(offset=offset, key=key, value=value) for offset, key, value in records]
    offset = records[-1][0] if end is None else end
    return SimpleNamespace(message=SimpleNamespace(partition=partition, offset=offset, value=value))


Build = Callable[[MemoryStore, Recovered], ChangelogTable]


async def test_recovered_changes_go_into_the_store_with_their_offset(table_over: Build) -> None:
    store, recovered = MemoryStore(), Recovered()
    table = table_over(store, recovered)

    table.apply_changelog_batch(
        [
            changes(0, (5, b"a", b"1"), (6, b"a", b"2"), (9, b"c", b"3")),
            changes(1, (2, b"b", b"1"), (3, b"b", None)),
        ]
    )

    assert dict(store.scan(0)) == {b"a": b"2", b"c": b"3"}
    assert dict(store.scan(1)) == {}
    assert (store.persisted_offset(0), store.persisted_offset(1)) == (9, 3)
    assert recovered.records == [("user-behaviour", 3), ("user-behaviour", 2)]


async def test_what_the_store_holds_already_is_not_taken_in_again(table_over: Build) -> None:
    store, recovered = MemoryStore(), Recovered()
    store.put_batch(0, [(b"a", b"own write")], 6)

    table_over(store, recovered).apply_changelog_batch(
        [changes(0, (4, b"a", b"old"), (5, b"b", b"old"), (6, b"a", b"old"), (7, b"c", b"new"))]
    )

    assert dict(store.scan(0)) == {b"a": b"own write", b"c": b"new"}
    assert store.persisted_offset(0) == 7
    assert recovered.records == [("user-behaviour", 1)]


async def test_an_end_without_records_is_held_too(table_over: Build) -> None:
    store = MemoryStore()
    store.put_batch(0, [(b"a", b"1")], 6)

    table_over(store, Recovered()).apply_changelog_batch([changes(0, end=9), changes(1, end=3)])

    assert (store.persisted_offset(0), store.persisted_offset(1)) == (9, 3)
    assert dict(store.scan(0)) == {b"a": b"1"}


async def test_bundles_go_into_the_store_soon_and_changelogs_are_not_read_after_recovery(
    table_over: Build,
) -> None:
    assert table_over(MemoryStore(), Recovered()).recovery_buffer_size == 2


async def test_recovery_goes_on_after_what_the_store_holds(table_over: Build) -> None:
    store = MemoryStore()
    table = table_over(store, Recovered())
    store.put_batch(2, [(b"a", b"1")], 41)

    assert table.persisted_offset(TP(CHANGELOG, 2)) == 41
    assert table.persisted_offset(TP(CHANGELOG, 3)) is None


async def test_a_partition_that_is_held_needs_no_reading(table_over: Build) -> None:
    store = MemoryStore()
    store.put_batch(2, [], 41)
    table = table_over(store, Recovered())

    needed = [await table.need_active_standby_for(TP(CHANGELOG, partition)) for partition in (2, 3)]

    assert needed == [False, True]


async def test_after_recovery_partitions_of_others_are_let_go_and_it_is_told(table_over: Build) -> None:
    store, recovered = MemoryStore(), Recovered()
    for partition in range(4):
        store.put_batch(partition, [(b"a", b"1")], 1)
    table = table_over(store, recovered)

    await table.on_recovery_completed({TP(CHANGELOG, 1)}, {TP(CHANGELOG, 3)})

    assert (store.partitions(), recovered.times) == ({1, 3}, 1)


async def test_offsets_go_in_with_their_items_only(table_over: Build) -> None:
    store = MemoryStore()
    table = table_over(store, Recovered())

    backend(table).set_persisted_offset(TP(CHANGELOG, 2), 41)

    assert store.persisted_offset(2) is None


async def test_a_reset_lets_go_of_everything(table_over: Build) -> None:
    store = MemoryStore()
    store.put_batch(2, [(b"a", b"1")], 41)

    table_over(store, Recovered()).reset_state()

    assert store.partitions() == set()


async def test_faust_makes_no_backups_of_it(table_over: Build) -> None:
    store = MemoryStore()
    store.put_batch(2, [(b"a", b"1")], 41)
    table = backend(table_over(store, Recovered()))

    await table.backup_partition(TP(CHANGELOG, 2))
    table.restore_backup(TP(CHANGELOG, 2), latest=True, backup_id=0)

    assert dict(store.scan(2)) == {b"a": b"1"}
