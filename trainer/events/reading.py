"""Event archives read back in the order of arrival, out-of-core: DuckDB sorts, with bounded memory and threads."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import duckdb

from stream.archive.description import read_description
from stream.archive.files import FILE_PATTERN

#: More is written to temporary files. One thread: DuckDB's memory grows with their number.
_MEMORY: Final = "1GB"
_THREADS: Final = 1
_ROWS: Final = 4096


class StoredRecord(NamedTuple):
    """A record that a worker would have folded; fits ``stream.record.InputRecord``."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes
    #: The user's id in its one spelling.
    key: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Reject(NamedTuple):
    """A row that could not be used."""

    partition: int
    offset: int
    reason: str
    detail: str
    value: bytes


class Totals(NamedTuple):
    """What an archive holds of one event type."""

    event_type: str
    events: int
    users: int
    first_ms: int
    last_ms: int


def stored_records(
    directory: Path, *, event_type: str = "", before_ms: int | None = None
) -> Iterator[StoredRecord]:
    """The accepted records by arrival; of one moment by topic, partition and offset.

    Args:
        directory: A finished archive.
        event_type: Only of this type; empty: all.
        before_ms: Only what occurred before, UTC ms; None: all.
    """
    where = "WHERE reason = ''"
    if event_type:
        where += f" AND event_type = '{event_type}'"
    if before_ms is not None:
        where += f" AND occurred_at_ms < {before_ms:d}"
    columns = 'topic, partition, "offset", received_at_ms, value, encode(user_id)'
    order = 'ORDER BY received_at_ms, topic, partition, "offset"'
    for row in _rows(directory, columns, f"{where} {order}"):
        yield StoredRecord(*row)


def user_ids(directory: Path) -> list[str]:
    """Every user of an archive, shorter ids first, so that numbers are in order."""
    rows = _rows(directory, "DISTINCT user_id", "WHERE reason = ''")
    users = {*read_description(directory).users, *(row[0] for row in rows)}
    return sorted(users, key=lambda user_id: (len(user_id), user_id))


def totals(directory: Path) -> list[Totals]:
    """What an archive holds, by event type, the most frequent first."""
    columns = "event_type, count(*), count(DISTINCT user_id), min(occurred_at_ms), max(occurred_at_ms)"
    rows = _rows(
        directory, columns, "WHERE reason = '' GROUP BY event_type ORDER BY count(*) DESC, event_type"
    )
    return [Totals(*row) for row in rows]


def rejects(directory: Path) -> Iterator[Reject]:
    """The rows that could not be used, in the order of the input."""
    columns = 'partition, "offset", reason, detail, value'
    yield from map(
        Reject._make, _rows(directory, columns, "WHERE reason <> '' ORDER BY partition, \"offset\"")
    )


def connect(temporary: str) -> duckdb.DuckDBPyConnection:
    """A connection of its own, bounded; ``temporary`` is the directory for what does not fit."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": _THREADS,
        "memory_limit": _MEMORY,
        "temp_directory": temporary,
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=config)


def fetched(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    """The rows of the last query, a few thousand at a time."""
    while batch := connection.fetchmany(_ROWS):
        yield from batch


def _rows(directory: Path, columns: str, rest: str) -> Iterator[tuple[Any, ...]]:
    read_description(directory)
    files = [str(path) for path in sorted(directory.glob(FILE_PATTERN))]
    if not files:
        return
    with TemporaryDirectory(prefix="interestflow-") as temporary, connect(temporary) as connection:
        connection.execute(f"SELECT {columns} FROM read_parquet(?) {rest}", [files])
        yield from fetched(connection)
