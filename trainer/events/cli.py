"""``interestflow-trainer events``: a shop's events into an archive, and what an archive holds."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from stream.archive.description import Description, read_description
from trainer.events.importing import count_rows, import_files
from trainer.events.journey import JOURNEY_EVENTS, archive_journey
from trainer.events.mapping import read_mapping
from trainer.events.reading import Totals, totals
from trainer.events.reading import rejects as stored_rejects
from trainer.progress import shown
from trainer.telling import tell

events = typer.Typer(no_args_is_help=True, help="A shop's events into an archive, and what an archive holds.")
_CONSOLE = Console(stderr=True)

_Out = Annotated[Path, typer.Option(help="Directory of the new archive.")]
_Archive = Annotated[Path, typer.Argument(help="Directory of the archive.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]


@events.command("import")
def import_command(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV or Parquet files.")],
    mapping: Annotated[Path, typer.Option(help="TOML file: which column is what.")],
    out: _Out,
    json: _Json = None,
) -> None:
    """Import a shop's own tables; bad rows are kept apart and counted by reason."""
    columns = read_mapping(mapping)
    with shown(_CONSOLE) as progress:
        made = import_files(files, columns, out, progress("import rows", count_rows(files, columns)))
    _tell(made, totals(out), json)


@events.command("complete-journey")
def complete_journey(out: _Out, json: _Json = None) -> None:
    """Write the installed data set of real purchases as an archive."""
    with shown(_CONSOLE) as progress:
        made = archive_journey(out, progress("write events", JOURNEY_EVENTS))
    _tell(made, totals(out), json)


@events.command()
def show(archive: _Archive, json: _Json = None) -> None:
    """What an archive holds, by event type, and what was rejected."""
    _tell(read_description(archive), totals(archive), json)


@events.command()
def rejects(
    archive: _Archive,
    reason: Annotated[str | None, typer.Option(help="Only of this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many rows.")] = 20,
) -> None:
    """The rows that could not be used: where they stood, why, and what they said."""
    described = read_description(archive)
    shown_rows = 0
    for row in stored_rejects(archive):
        if reason is not None and row.reason != reason:
            continue
        if shown_rows == limit:
            break
        shown_rows += 1
        place = described.files[row.partition] if described.files else f"partition {row.partition}"
        print(
            f"{place} row {row.offset}: {row.reason}: {row.detail}\n    {row.value.decode(errors='replace')}"
        )
    print(f"{shown_rows} of {sum(described.rejects.values())} rejected rows")


def _tell(described: Description, held: Sequence[Totals], path: Path | None) -> None:
    figures: dict[str, Any] = {
        "name": described.name,
        "events": described.events,
        "rejects": described.rejects,
        "types": {total.event_type: _figures(total) for total in held},
    }
    tell(figures, path)


def _figures(total: Totals) -> dict[str, Any]:
    first, last = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in (total.first_ms, total.last_ms))
    return {
        "events": total.events,
        "users": total.users,
        "first": first.isoformat(timespec="seconds"),
        "last": last.isoformat(timespec="seconds"),
    }
