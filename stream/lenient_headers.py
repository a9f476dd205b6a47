"""Header names that are not UTF-8: one such record would end all fetching of the worker, whoever sent it.

aiokafka decodes header names while it unpacks a batch, below anything that could reject the record. Java clients
write no other names, but librdkafka writes whatever bytes it is given.
"""

from collections.abc import Callable, Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

#: Older batches have no headers.
_MAGIC_WITH_HEADERS = 2


class _LenientBytes(bytearray):
    """Bytes of which every part decodes; what is not UTF-8 becomes U+FFFD."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _LenientBytes(part) if isinstance(part, bytearray) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for those who share its code, not for this
    """A batch read by aiokafka's own Python code, fifty times as slow as its C: only for a batch that needs it."""

    _buffer: bytearray

    def __iter__(self) -> Any:
        batch = super().__iter__()
        self._buffer = _LenientBytes(self._buffer)
        return batch


class _FetchedRecords:
    """The batches of a fetch by aiokafka's C code, with the bytes that they are read from."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        records = MemoryRecords(data)
        self.has_next = records.has_next
        self.next_batch = records.next_batch
        self.size_in_bytes = records.size_in_bytes


class _LenientRecords:
    """The same batches once more, by Python code and lenient."""

    def __init__(self, data: bytes) -> None:
        self._records = _MemoryRecordsPy(data)
        self.has_next = self._records.has_next

    def next_batch(self) -> Any:
        raw = self._records._next_slice  # noqa: SLF001 - what next_batch is about to read
        batch = self._records.next_batch()
        return _LenientBatch(raw) if batch is not None and batch.magic >= _MAGIC_WITH_HEADERS else batch


class _LenientPartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types here
    """The records of a fetch of one partition; goes on where the C code gave up."""

    _records: Any
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        reached = self.next_fetch_offset
        try:
            for record in super()._unpack_records():
                reached = record.offset + 1
                yield record
        except UnicodeDecodeError:
            self._records = _LenientRecords(self._records.data)
        else:
            return
        # Each batch sets the offset that its own skipping goes by, so what was given out is passed over here.
        again = super()._unpack_records()
        yield from (record for record in again if record.offset >= reached)


def install_lenient_headers() -> Callable[[], None]:
    """Let every consumer of this process read records with whatever header names.

    Replaces two names in a module of aiokafka 0.14.0; call it before a consumer starts.

    Returns:
        What puts aiokafka's own back.
    """
    module: Any = fetcher
    originals = module.MemoryRecords, module.PartitionRecords
    module.MemoryRecords, module.PartitionRecords = _FetchedRecords, _LenientPartitionRecords

    def uninstall() -> None:
        module.MemoryRecords, module.PartitionRecords = originals

    return uninstall
