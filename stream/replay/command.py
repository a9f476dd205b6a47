"""``interestflow replay``: the recorded behaviour into any Kafka that the settings name."""

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import typer

from stream.clock import SystemClock
from stream.errors import ConfigurationError
from stream.kafka_client import client_kwargs
from stream.replay.campaign_orders import campaign_orders, publish_campaigns
from stream.replay.producer import ReplayStats, replay
from stream.replay.recording import Recording
from stream.settings import Settings

#: Between two lines of progress.
_LINE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class ReplayOptions:
    """What ``interestflow replay`` is told."""

    recording: Recording
    #: End after so many seconds; None runs to the end of the events.
    seconds: float | None = None
    #: Send the campaigns first.
    campaigns: bool = True
    summary: Path | None = None


def day(text: str) -> date:
    """A day written as 2017-10-30.

    Raises:
        ConfigurationError: If it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no day: write it as 2017-10-30") from error


def last_day(text: str) -> date | None:
    """The day before which a replay ends; None for ``end``.

    Raises:
        ConfigurationError: If it is neither a day nor ``end``.
    """
    return None if text == "end" else day(text)


def run_replay(options: ReplayOptions, settings: Settings) -> None:
    """Send campaigns and behaviour until the end, the time or Ctrl-C; figures to standard output and to the file.

    Raises:
        ConfigurationError: If the worker of these settings would not take events of the past.
        TransientError: If the broker does not take them.
    """
    if not settings.virtual_time:
        raise ConfigurationError(
            "INTERESTFLOW_VIRTUAL_TIME is false, so a worker counts the replay's events, which are of 2017, as late: "
            "set it to true here and for the worker, with topics that were created so"
        )
    stats = asyncio.run(_replay(options, client_kwargs(settings.kafka)))
    if options.summary is not None:
        options.summary.parent.mkdir(parents=True, exist_ok=True)
        options.summary.write_bytes(orjson.dumps(summary_of(stats), option=orjson.OPT_INDENT_2))
    typer.echo(f"{'stopped' if stats.stopped else 'ended'}: {progress_line(stats)}")


def summary_of(stats: ReplayStats) -> dict[str, Any]:
    """The replay's figures by name."""
    return {
        "events": dict(sorted(stats.sent_by_topic.items())),
        "events_by_type": dict(sorted(stats.sent_by_type.items())),
        "events_total": stats.sent,
        "generated": stats.generated,
        "history": stats.history,
        "elapsed_seconds": round(stats.elapsed_seconds, 3),
        "events_per_second": round(stats.events_per_second, 1),
        "stopped": stats.stopped,
    }


def progress_line(stats: ReplayStats) -> str:
    """Where the replay stands, in one line."""
    at = datetime.fromtimestamp(stats.virtual_ms / 1000, UTC)
    return (
        f"{at:%Y-%m-%d %H:%M}  {stats.sent} events sent, {stats.generated} of them generated, "
        f"{stats.events_per_second:.0f}/s"
    )


async def _replay(options: ReplayOptions, kwargs: Mapping[str, Any]) -> ReplayStats:
    recording, stop, stats = options.recording, asyncio.Event(), ReplayStats()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if options.campaigns:
        orders = campaign_orders()
        await publish_campaigns(orders, kwargs)
        typer.echo(f"{len(orders)} campaigns sent")
    events = recording.events()
    typer.echo(f"replaying from {recording.start}, after {recording.history_days:g} days of history")
    if options.seconds is not None:
        loop.call_later(options.seconds, stop.set)
    telling = asyncio.create_task(_tell(stats))
    try:
        return await replay(
            events,
            client_kwargs=kwargs,
            pace=recording.pace(),
            clock=SystemClock(),
            stop=stop,
            stats=stats,
        )
    finally:
        telling.cancel()


async def _tell(stats: ReplayStats) -> None:
    while True:
        await asyncio.sleep(_LINE_SECONDS)
        if stats.sent:
            typer.echo(progress_line(stats))
