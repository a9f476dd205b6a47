"""``interestflow dlq``: what is typed, and what is printed."""

import asyncio
from typing import Annotated

import typer

from stream.clock import SystemClock
from stream.dlq.cures import CURES
from stream.dlq.desk import Desk, ReplayOrder
from stream.dlq.letters import UNKNOWN, Selection, parse_place
from stream.dlq.purging import Purge, last_offsets
from stream.dlq.times import moment_ms
from stream.errors import ConfigurationError
from stream.settings import load_settings

dlq = typer.Typer(no_args_is_help=True, help="Look at dead letters, replay them, delete them.")

ReasonOption = Annotated[list[str] | None, typer.Option(help="Only of this reason; repeatable.")]
TopicOption = Annotated[list[str] | None, typer.Option(help="Only of records of this topic; repeatable.")]
PartitionOption = Annotated[list[int] | None, typer.Option(help="Only of this partition; repeatable.")]
SinceOption = Annotated[
    str | None, typer.Option(help="Only what was written since: 90m, 24h, 7d ago, or a time in UTC.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
YesOption = Annotated[bool, typer.Option("--yes/--dry-run", help="Do it, or only say what it would do.")]


@dlq.command("list")
def list_command(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="At most so many, the newest.")] = 20,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest dead letters, without their keys and values."""
    selection = _selection(reason, topic, partition, since)
    typer.echo(asyncio.run(_desk().newest(selection, count, as_json=as_json)))


@dlq.command("why")
def why_command(letter: Annotated[str, typer.Argument(help="As list writes it: partition:offset.")]) -> None:
    """Show all of one dead letter and what to do about it; it can hold personal data."""
    place = parse_place(letter)
    typer.echo(asyncio.run(_desk().why(place)))


@dlq.command("stats")
def stats_command(
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count dead letters by reason, topic and hour."""
    selection = _selection(reason, topic, partition, since)
    typer.echo(asyncio.run(_desk().stats(selection, as_json=as_json)))


@dlq.command("replay")
def replay_command(
    letters: Annotated[
        list[str] | None, typer.Argument(help="Single ones, partition:offset; else all that fit.")
    ] = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the oldest first.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, help="Records per second.")] = 200.0,
    max_attempts: Annotated[int, typer.Option(min=1, help="Leave what was tried so often.")] = 5,
    again: Annotated[bool, typer.Option("--again", help="Also what was replayed already.")] = False,
    yes: YesOption = False,
) -> None:
    """Send dead letters back to their topics, each once; without --yes only say which."""
    selection = _selection(reason, topic, partition, since, letters)
    order = ReplayOrder(selection, limit, rate, max_attempts, again=again, yes=yes)
    typer.echo(asyncio.run(_desk().replay(order, typer.echo)))


@dlq.command("purge")
def purge_command(
    before: Annotated[
        str | None, typer.Option(help="What was written before: 7d ago, or a time in UTC.")
    ] = None,
    through: Annotated[
        list[str] | None,
        typer.Option(help="This letter (partition:offset) and all before it in its partition; repeatable."),
    ] = None,
    yes: YesOption = False,
) -> None:
    """Delete the oldest dead letters for good, replayed or not; without --yes only say which."""
    if (before is None) == (not through):
        raise ConfigurationError("say either --before TIME or --through PARTITION:OFFSET")
    purge = Purge(
        None if before is None else moment_ms(before, SystemClock().wall_ms()),
        last_offsets(parse_place(text) for text in through or ()),
    )
    typer.echo(asyncio.run(_desk().purge(purge, yes=yes)))


def _desk() -> Desk:
    return Desk(load_settings(), SystemClock())


def _selection(
    reasons: list[str] | None,
    topics: list[str] | None,
    partitions: list[int] | None,
    since: str | None,
    places: list[str] | None = None,
) -> Selection:
    unknown = sorted({*(reasons or ())} - {*CURES, UNKNOWN})
    if unknown:
        raise ConfigurationError(
            f"no reason is called {', '.join(unknown)}: there are {', '.join(sorted(CURES))}"
        )
    return Selection(
        frozenset(reasons or ()),
        frozenset(topics or ()),
        frozenset(partitions or ()),
        frozenset(parse_place(text) for text in places or ()),
        0 if since is None else moment_ms(since, SystemClock().wall_ms()),
    )
