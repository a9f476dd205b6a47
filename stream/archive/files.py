"""The files of an event archive: one Parquet row per record of an input topic, with its value byte for byte.

Each record goes through ``stream.decode``, as in a worker. What that refuses is kept in the same files with its reason, so
that a file is the one thing that is written whole or not at all. The rows of a file stand in no order.

================  ======  ==========================================================================================
topic             string  One of the four behaviour topics.
partition         int32   With ``offset`` the record's place: on its topic, or input file and row of an import.
offset            int64
received_at_ms    int64   The record's timestamp: from then on a worker knew of the event. UTC epoch ms.
occurred_at_ms    int64   Event time as decoded, UTC epoch ms; 0 if rejected.
event_type        string  Empty if rejected.
user_id           string  In its one spelling; empty if rejected.
reason            string  Why it was rejected (``stream.events.Reason`` or a reason of the import); empty if accepted.
detail            string  That in words.
value             binary  The JSON object of the input contract; of a rejected row what there was.
================  ======  ==========================================================================================
"""

import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from stream.archive.description import DESCRIPTION_FILE
from stream.decode import decode_event
from stream.errors import ConfigurationError, RejectionError

SCHEMA: Final = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("received_at_ms", pa.int64()),
        ("occurred_at_ms", pa.int64()),
        ("event_type", pa.string()),
        ("user_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("value", pa.binary()),
    ]
)
#: Of the files, in any order.
FILE_PATTERN: Final = "events-*.parquet"
#: A file is written when so many rows or bytes of values wait; bounds the memory.
_ROWS_PER_FILE: Final = 200_000
_BYTES_PER_FILE: Final = 64 * 1024 * 1024


class Place(NamedTuple):
    """Where a record stood: on its topic, or in the import's input."""

    topic: str
    partition: int
    offset: int


class ArchiveWriter:
    """Writes the files of one archive.

    Args:
        directory: Made if need be. Files of a broken-off import are removed.
        goes_on: Add to the files that are there instead, and to a finished archive.

    Raises:
        ConfigurationError: If it holds a finished archive, or something else.
    """

    def __init__(self, directory: Path, *, goes_on: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        _require_clear(directory, goes_on=goes_on)
        self.directory = directory
        self.accepted = 0
        self.rejects: Counter[str] = Counter()
        #: One more than the greatest offset kept of each topic's partition.
        self.next_offsets: dict[tuple[str, int], int] = {}
        self._number = 0
        for path in sorted(directory.glob(FILE_PATTERN)):
            self._count(path)
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()

    def add(self, place: Place, received_at_ms: int, value: bytes) -> RejectionError | None:
        """Keep a record if it decodes; else nothing is kept, and the error is given back."""
        try:
            event, occurred_at_ms, _ = decode_event(value, received_at_ms)
        except RejectionError as error:
            return error
        self.accepted += 1
        described = event.event_type, event.user_id, "", ""
        self._append((*place, received_at_ms, occurred_at_ms, *described, value), len(value))
        return None

    def reject(self, place: Place, error: RejectionError, value: bytes, received_at_ms: int = 0) -> None:
        """Keep a record that can't be used, with the reason."""
        self.rejects[error.reason] += 1
        row = (*place, received_at_ms, 0, "", "", str(error.reason), error.detail, value)
        self._append(row, len(value))

    def flush(self) -> None:
        """Write what waits."""
        if not self._rows:
            return
        columns = [
            pa.array(column, field.type)
            for column, field in zip(zip(*self._rows, strict=True), SCHEMA, strict=True)
        ]
        path = self.directory / f"events-{self._number:05d}.parquet"
        draft = self.directory / f".{path.name}.{os.getpid()}"
        pq.write_table(pa.table(columns, schema=SCHEMA), draft, compression="zstd")
        draft.replace(path)
        self._number += 1
        self._rows.clear()
        self._bytes = 0

    def _count(self, path: Path) -> None:
        """Take a file of before into account."""
        table = pq.read_table(path, columns=["topic", "partition", "offset", "reason"])
        for topic, partition, offset, reason in zip(*table.to_pydict().values(), strict=True):
            self.next_offsets[topic, partition] = max(
                self.next_offsets.get((topic, partition), 0), offset + 1
            )
            self.accepted += not reason
            if reason:
                self.rejects[reason] += 1
        self._number = int(path.stem.rpartition("-")[2]) + 1

    def _append(self, row: tuple[Any, ...], size: int) -> None:
        self._rows.append(row)
        self._bytes += size
        if len(self._rows) >= _ROWS_PER_FILE or self._bytes >= _BYTES_PER_FILE:
            self.flush()


def _require_clear(directory: Path, *, goes_on: bool) -> None:
    description = directory / DESCRIPTION_FILE
    if description.exists() and not goes_on:
        raise ConfigurationError(
            f"{directory} holds an event archive already: name another directory, or remove it"
        )
    drafts = {path.name for path in directory.glob(".events*")}
    ours = drafts | {path.name for path in directory.glob(FILE_PATTERN)}
    others = sorted({path.name for path in directory.iterdir()} - ours - {DESCRIPTION_FILE})
    if others:
        raise ConfigurationError(
            f"{directory} holds something else ({others[0]}): name a directory of its own"
        )
    description.unlink(missing_ok=True)  # unfinished until it is written again
    for name in drafts if goes_on else ours:
        (directory / name).unlink()
