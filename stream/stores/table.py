"""A Faust table over a partition store: Faust recovers it from its changelog, we write it ourselves.

``table[key] = value`` is not used anywhere: a bundle's changes go out with ``send_batch`` and into the store once
they are durable (stream.ingest, stream.publisher).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import faust
import structlog
from faust.stores.base import Store
from faust.types import TP

from stream.fences import FENCE_KEY
from stream.setting_sections import StoreSettings
from stream.stores.backend import PartitionStore
from stream.stores.memory import MemoryStore
from stream.stores.rocks import RocksMemory, RocksStore

log = structlog.get_logger(__name__)

#: Gets told the table and how many records of its changelog were read back.
ReadBack = Callable[[str, int], None]

_HOUR_MS: Final = 3_600_000
_MIB: Final = 2**20


def open_stores(settings: StoreSettings, tables: Sequence[str], now_ms: int) -> list[PartitionStore]:
    """A store for each table, in memory or on disk; partitions that were kept for too long are dropped.

    Args:
        settings: Which kind, where, and how much memory they share.
        tables: Each gets a directory of its name.
        now_ms: By the wall clock, as the files' times are.
    """
    if settings.backend == "memory":
        return [MemoryStore() for _ in tables]
    memory = RocksMemory(settings.rocksdb_memory_mib * _MIB)
    stores: list[PartitionStore] = []
    for table in tables:
        store = RocksStore(settings.directory / table, memory)
        if old := store.drop_older(now_ms - int(settings.keep_hours * _HOUR_MS)):
            log.info("old_partitions_dropped", table=table, partitions=old)
        stores.append(store)
    return stores


class ChangelogStore(Store[bytes, bytes]):
    """What Faust's recovery sees of a :class:`PartitionStore`."""

    def __init__(
        self,
        *args: Any,
        store: PartitionStore,
        on_recovered: Callable[[], None],
        on_read_back: ReadBack,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._on_read_back = on_read_back
        self.data: dict[Any, Any] = {}  # Faust's mapping interface, unused
        self._store = store
        self._on_recovered = on_recovered

    def persisted_offset(self, tp: TP) -> int | None:
        """The last changelog offset held; recovery reads on from there."""
        return self._store.persisted_offset(tp.partition)

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Not used: offsets go in with their items."""

    async def need_active_standby_for(self, tp: TP) -> bool:
        """A partition that is not held must be read."""
        return self._store.persisted_offset(tp.partition) is None

    def apply_changelog_batch(self, batch: Iterable[Any], *_: Any, **__: Any) -> None:
        """Take in what recovery read: bundles of the transport, each of one partition and in order."""
        for event in batch:
            message = event.message
            held = self._store.persisted_offset(message.partition)
            # Reading starts at the last record held, and may be begun anew further back.
            new = [
                record
                for record in message.value
                if (held is None or record.offset > held) and record.key != FENCE_KEY
            ]
            items = ((record.key, record.value) for record in new)
            self._store.put_batch(message.partition, items, message.offset)
            self._on_read_back(self.table_name, len(new))

    def reset_state(self) -> None:
        """Let go of everything."""
        for partition in self._store.partitions():
            self._store.drop(partition)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Let go of partitions that are neither owned nor followed any more."""
        kept = {tp.partition for tp in active_tps | standby_tps}
        for partition in self._store.partitions() - kept:
            self._store.drop(partition)
        self._on_recovered()

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        """Not offered: the changelog is the backup."""

    def restore_backup(self, *_: Any, **__: Any) -> None:
        """Not offered: the changelog is the backup."""


class ChangelogTable(faust.Table[bytes, bytes]):
    """A Faust table whose store is ours."""

    def __init__(
        self,
        *args: Any,
        store: PartitionStore,
        on_recovered: Callable[[], None],
        on_read_back: ReadBack,
        **kwargs: Any,
    ) -> None:
        self._when_read_back = on_read_back
        self._partition_store = store
        self._when_recovered = on_recovered
        # Of bundles; Faust takes a size of 1 for an order to go on reading changelogs, own writes included.
        super().__init__(*args, key_type=bytes, value_type=bytes, recovery_buffer_size=2, **kwargs)

    def _new_store(self) -> ChangelogStore:
        return ChangelogStore(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            store=self._partition_store,
            on_recovered=self._when_recovered,
            on_read_back=self._when_read_back,
        )
