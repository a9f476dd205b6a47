"""Imports: a shop's CSV or Parquet files into an event archive, in one pass with bounded memory.

DuckDB reads the files as text and, where rows are lines of orders, brings the lines of an order together. Each event then
goes through ``stream.decode``, as in a worker. Rows that can't be used are kept with their reason.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as Row
from hashlib import file_digest, sha256
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import duckdb
import orjson

from stream.archive.description import Description, write_description
from stream.archive.files import ArchiveWriter, Place
from stream.decode import decode_event
from stream.errors import RejectionError
from stream.replay.timed import TOPIC_BY_TYPE
from trainer.errors import TrainerError
from trainer.events.lines import LineReader
from trainer.events.mapping import Mapping
from trainer.events.reading import connect, fetched

#: Reason of rows that are no rows of a table.
UNREADABLE: Final = "unreadable_row"
#: Larger orders become several events; the contract allows 200.
_ITEMS_PER_EVENT: Final = 100


class Line(NamedTuple):
    """One row, and where it stood: number of its file, and its own from 1."""

    file: int
    row: int
    cells: Row[str, str | None]

    def raw(self) -> bytes:
        """As it is kept if it can't be used."""
        return orjson.dumps(dict(self.cells))


def import_files(
    files: Sequence[Path], mapping: Mapping, directory: Path, advance: Callable[[int], None] = lambda _: None
) -> Description:
    """Import files into a new archive.

    Args:
        files: CSV (also compressed) or Parquet, by their names.
        mapping: Which columns are what.
        directory: Of the archive.
        advance: Told how many rows more were read.

    Raises:
        TrainerError: If a file can't be read or lacks a column; no archive is made then.
        ConfigurationError: If the directory is not empty.
    """
    with (
        TemporaryDirectory(prefix="interestflow-") as temporary,
        connect(temporary) as connection,
        ArchiveWriter(directory) as writer,
    ):
        importer = _Importer(mapping, writer)
        for event_lines in _events(_lines(connection, files, mapping), mapping):
            importer.add(event_lines)
            advance(len(event_lines))
        for file, row, detail, text in _unreadable(connection, files):
            error = RejectionError(UNREADABLE, detail)
            writer.reject(Place("", file, row), error, text.encode())
    described = Description(
        name=mapping.name,
        sha256=_digest(files, mapping),
        events=writer.accepted,
        rejects=dict(writer.rejects.most_common()),
        files=tuple(path.name for path in files),
        interests=mapping.interests,
    )
    write_description(directory, described)
    return described


def count_rows(files: Sequence[Path], mapping: Mapping) -> int:
    """How many rows the files have.

    Raises:
        TrainerError: As :func:`import_files`.
    """
    count = 0
    with TemporaryDirectory(prefix="interestflow-") as temporary, connect(temporary) as connection:
        for path in files:
            _require_columns(connection, path, mapping)
            found = connection.execute(f"SELECT count(*) FROM {_source(path, mapping)}").fetchone()
            count += found[0] if found else 0
    return count


class _Importer:
    """Makes events of lines, and tells the good lines of an order from the bad."""

    def __init__(self, mapping: Mapping, writer: ArchiveWriter) -> None:
        self._mapping = mapping
        self._writer = writer
        self._reader = LineReader(mapping)
        self._order: tuple[str, ...] = ()
        self._parts = 0

    def add(self, lines: Sequence[Line]) -> None:
        """One event, or several if it has many items."""
        try:
            head = self._reader.head(lines[0].cells)
            received_at_ms = max(
                self._reader.received_at_ms(line.cells, head["occurred_at_ms"]) for line in lines
            )
        except RejectionError as error:
            self._reject(lines, error)
            return
        items: list[tuple[Line, dict[str, Any] | None]] = []
        for line in lines:
            try:
                items.append((line, self._reader.item(line.cells)))
            except RejectionError as error:
                self._reject([line], error, received_at_ms)
        for start in range(0, len(items), _ITEMS_PER_EVENT):
            self._add_event(head, items[start : start + _ITEMS_PER_EVENT], received_at_ms)

    def _add_event(
        self, head: dict[str, Any], items: list[tuple[Line, dict[str, Any] | None]], received_at_ms: int
    ) -> None:
        head = {**head, **self._event_id(head)}
        error = self._try(head, items, received_at_ms)
        if error is not None and len(items) > 1:
            items = self._good(head, items, received_at_ms)
            error = self._try(head, items, received_at_ms) if items else None
        if error is not None:
            self._reject([line for line, _ in items], error, received_at_ms)

    def _try(
        self, head: dict[str, Any], items: list[tuple[Line, dict[str, Any] | None]], received_at_ms: int
    ) -> RejectionError | None:
        first = items[0][0]
        topic = TOPIC_BY_TYPE.get(head["event_type"], "")
        return self._writer.add(Place(topic, first.file, first.row), received_at_ms, _value(head, items))

    def _good(
        self, head: dict[str, Any], items: list[tuple[Line, dict[str, Any] | None]], received_at_ms: int
    ) -> list[tuple[Line, dict[str, Any] | None]]:
        """The lines that would do alone; the others are rejected."""
        good = []
        for line, item in items:
            try:
                decode_event(_value(head, [(line, item)]), received_at_ms)
            except RejectionError as error:
                self._reject([line], error, received_at_ms)
            else:
                good.append((line, item))
        return good

    def _event_id(self, head: dict[str, Any]) -> dict[str, str]:
        """The id of the next part of an order; nothing if rows have their own, or none."""
        if not self._mapping.joins_lines or "transaction_id" not in head:
            return {}
        order = head["user_id"], head["transaction_id"], head["event_type"]
        self._parts = self._parts + 1 if order == self._order else 1
        self._order = order
        suffix = "" if self._parts == 1 else f"-{self._parts}"
        return {"event_id": f"{head['event_type']}:{head['transaction_id']}{suffix}"}

    def _reject(self, lines: Sequence[Line], error: RejectionError, received_at_ms: int = 0) -> None:
        for line in lines:
            self._writer.reject(Place("", line.file, line.row), error, line.raw(), received_at_ms)


def _value(head: dict[str, Any], items: list[tuple[Line, dict[str, Any] | None]]) -> bytes:
    listed = [item for _, item in items if item is not None]
    return orjson.dumps({**head, "items": listed} if listed else head)


def _events(lines: Iterator[Line], mapping: Mapping) -> Iterator[list[Line]]:
    """The lines of each event."""
    if not mapping.joins_lines:
        yield from ([line] for line in lines)
        return
    columns = mapping.columns
    keys = [name for name in _order_columns(mapping) if name]
    for _, members in groupby(lines, key=lambda line: [line.cells[name] for name in keys]):
        together = list(members)
        if together[0].cells[columns.transaction_id or ""]:
            yield together
        else:
            yield from ([line] for line in together)


def _order_columns(mapping: Mapping) -> tuple[str, ...]:
    columns = mapping.columns
    named = columns.user_id, columns.transaction_id, columns.event_type, columns.occurred_at
    return tuple(name for name in named if name)


def _lines(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], mapping: Mapping) -> Iterator[Line]:
    names = mapping.columns.names()
    for path in files:
        _require_columns(connection, path, mapping)
    listed = ", ".join(f"{_quoted(name)}::VARCHAR AS {_quoted(name)}" for name in names)
    parts = [
        f"SELECT {number} AS file, row_number() OVER () AS row, {listed} FROM {_source(path, mapping)}"
        for number, path in enumerate(files)
    ]
    query = " UNION ALL ".join(parts)
    if mapping.joins_lines:
        keys = ", ".join(map(_quoted, _order_columns(mapping)))
        query = f"SELECT * FROM ({query}) ORDER BY {keys}, file, row"
    try:
        connection.execute(query)
        for file, row, *cells in fetched(connection):
            yield Line(file, row, dict(zip(names, cells, strict=True)))
    except duckdb.Error as error:
        raise TrainerError(f"the input can't be read: {error}") from error


def _require_columns(connection: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping) -> None:
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {_source(path, mapping)}").fetchall()
    except duckdb.Error as error:
        raise TrainerError(f"{path} can't be read: {error}") from error
    present = [row[0] for row in described]
    missing = [name for name in mapping.columns.names() if name not in present]
    if missing:
        raise TrainerError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, present))}: "
            "change the mapping's [columns]"
        )


def _source(path: Path, mapping: Mapping) -> str:
    """The table function that reads a file."""
    name = _text(str(path))
    if path.suffix.lower() in {".parquet", ".pq"}:
        return f"read_parquet({name})"
    options = (
        f"header = true, all_varchar = true, store_rejects = true, encoding = {_text(mapping.csv.encoding)}"
    )
    if mapping.csv.delimiter is not None:
        options += f", delim = {_text(mapping.csv.delimiter)}"
    return f"read_csv({name}, {options})"


def _unreadable(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path]
) -> list[tuple[int, int, str, str]]:
    """File, line, what is wrong and the line itself of each row of a CSV that is no row."""
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "reject_errors" not in tables:
        return []
    query = (
        "SELECT DISTINCT ON (file_path, line) file_path, line, error_message, csv_line FROM reject_errors "
        "JOIN reject_scans USING (scan_id, file_id) ORDER BY file_path, line"
    )
    numbers = {str(path): number for number, path in enumerate(files)}
    rows = connection.execute(query).fetchall()
    return [(numbers[path], int(line), str(message), str(text)) for path, line, message, text in rows]


def _digest(files: Sequence[Path], mapping: Mapping) -> str:
    """SHA-256 over the files and the mapping."""
    whole = sha256()
    for path in files:
        with path.open("rb") as content:
            whole.update(file_digest(content, "sha256").digest())
    whole.update(mapping.model_dump_json().encode())
    return whole.hexdigest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
