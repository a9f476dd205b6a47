r"""Records whose header names are not UTF-8, as any producer may send them.

aiokafka decodes header names strictly while it reads a fetch: one such record would raise out of every fetch of its
partition, after each restart again, with nothing to reject. Here its batch is read once more, with the bytes that are
no text shown as ``\xff``; what is in headers then decides nothing, as for any other record.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py

#: Every batch begins with its base offset (int64) and the length (int32) of what follows.
_BATCH_START: Final = struct.Struct(">qi")


class _Readable(bytearray):
    """Bytes that can always be read as text."""

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        return _Readable(part) if isinstance(place, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        """The text; bytes that are none are shown as escapes."""
        return super().decode(encoding, errors)


class ReadableBatch:
    """One batch of a fetch, whatever its header names are."""

    def __init__(self, batch: Any, start: int, raw: bytes) -> None:
        self._batch = batch
        self._start = start
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except (UnicodeDecodeError, CorruptRecordException):
            return iter(self._read_again())

    def _read_again(self) -> list[Any]:
        """All records by aiokafka's slower reader, which can be given the bytes to read from."""
        _, length = _BATCH_START.unpack_from(self._raw, self._start)
        end = self._start + _BATCH_START.size + length
        batch: Any = _DefaultRecordBatchPy(memoryview(self._raw)[self._start : end])
        batch._maybe_uncompress()  # noqa: SLF001 - pinned by tests/unit/test_foreign_headers.py
        batch._buffer = _Readable(batch._buffer)  # noqa: SLF001 - as above
        return [batch._read_msg(decode_varint_py) for _ in range(batch._num_records)]  # noqa: SLF001 - as above


class ReadableRecords:
    """What a fetch gave of one partition, batch by batch."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._records: Any = MemoryRecords(raw)
        self._start = 0

    def has_next(self) -> bool:
        """Whether a whole batch is left."""
        return bool(self._records.has_next())

    def next_batch(self) -> ReadableBatch:
        """The next batch."""
        batch = ReadableBatch(self._records.next_batch(), self._start, self._raw)
        _, length = _BATCH_START.unpack_from(self._raw, self._start)
        self._start += _BATCH_START.size + length
        return batch

    def size_in_bytes(self) -> int:
        """Of the whole fetch."""
        return int(self._records.size_in_bytes())


def read_foreign_headers() -> Callable[[], None]:
    """Let every consumer of this process read such records; call it before the first fetch.

    Returns:
        What puts aiokafka's own way back.
    """
    module: Any = fetcher  # Any: its name is replaced
    original = module.MemoryRecords

    def undo() -> None:
        module.MemoryRecords = original

    module.MemoryRecords = ReadableRecords
    return undo
