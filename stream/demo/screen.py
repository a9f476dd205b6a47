"""The demo's face in a terminal: progress bars while it starts, then one screen that lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from stream.clock import Clock
from stream.demo.figures import Summary, View
from stream.demo.lines import milliseconds, percent, summary_rows


class Screen:
    """Draws with rich."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._live: Live | None = None

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """See ``Reporter``."""
        began = self._clock.monotonic_seconds()
        with self._console.status(f"starting: {text}"):
            yield
        took = self._clock.monotonic_seconds() - began
        self._console.print(Text.assemble(("✓ ", "green"), text, (f"  {took:.1f} s", "dim")))

    def progress(self, text: str, done: float) -> None:
        """See ``Reporter``."""
        if self._live is not None:
            return  # the screen tells it
        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
            )
            self._progress = Progress(*columns, console=self._console)
            self._progress.start()
        if text not in self._tasks:
            for task in self._tasks.values():
                self._progress.update(task, completed=1.0)
            self._tasks[text] = self._progress.add_task(text, total=1.0)
        self._progress.update(self._tasks[text], completed=done)

    def show(self, view: View) -> None:
        """See ``Reporter``."""
        self._end_progress()
        if self._live is None:
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        self._live.update(picture(view), refresh=True)

    def finish(self, summary: Summary | None) -> None:
        """See ``Reporter``."""
        self._end_progress()
        if self._live is not None:
            self._live.stop()
            self._live = None
        if summary is not None:
            table = Table(title="interestflow demo", title_justify="left", show_header=False, box=None)
            table.add_column(style="bold", no_wrap=True)
            table.add_column(overflow="fold")
            for name, text in summary_rows(summary):
                table.add_row(Text(name), Text(text))
            self._console.print(table)

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def picture(view: View) -> RenderableType:
    """One screen."""
    layout = Layout()
    layout.split_column(
        Layout(_head(view), size=3),
        Layout(name="figures", size=9),
        Layout(_updates(view)),
        Layout(_decisions(view)),
    )
    layout["figures"].split_row(
        Layout(Panel(_topics(view), title="input")), Layout(Panel(_service(view), title="service"))
    )
    return layout


def _head(view: View) -> RenderableType:
    at = datetime.fromtimestamp(view.virtual_ms / 1000, UTC)
    limit = "" if view.seconds is None else f" of {view.seconds:.0f}"
    first = Text.assemble(
        ("interestflow  ", "bold"),
        (f"{at:%a %Y-%m-%d %H:%M}", "cyan"),
        f"  {view.speed:g} times real time  {view.users} users  {view.elapsed_seconds:.0f}{limit} s  Ctrl-C ends it",
    )
    second = Text(
        "dunnhumby The Complete Journey (its packager labels it simulated); clicks, browsing and bids are invented",
        style="dim",
    )
    return Group(first, second)


def _topics(view: View) -> Table:
    table = _table("topic", "events/s", "events")
    for topic in view.topics:
        table.add_row(Text(topic.topic), f"{topic.per_second:.0f}", str(topic.total))
    return table


def _service(view: View) -> Table:
    table = Table(box=None, show_header=False, expand=True)
    p50, p99 = milliseconds(view.freshness_p50_ms), milliseconds(view.freshness_p99_ms)
    table.add_row("freshness p50 / p99", f"{p50} / {p99}")
    table.add_row("interest updates", str(view.updates))
    table.add_row("ad decisions", str(view.decisions))
    table.add_row("model calls", f"{view.model_calls} ({view.model_calls_per_second:.0f}/s)")
    table.add_row("vector cache hits", percent(view.cache_hit_ratio))
    table.add_row("users due", str(view.due_users))
    table.add_row("dead letters", str(view.dead_letters))
    return table


def _updates(view: View) -> Panel:
    table = _table("user", "wants now, next 28 days", "moved by")
    for update in view.latest_updates:
        table.add_row(*map(Text, update))
    return Panel(table, title="latest interest updates")


def _decisions(view: View) -> Panel:
    table = _table("user", "ad", "why")
    for decision in view.latest_decisions:
        table.add_row(*map(Text, decision))
    return Panel(table, title="latest ad decisions")


def _table(*headers: str) -> Table:
    """Columns of one line each; the first is never cut."""
    table = Table(box=None, expand=True, pad_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, no_wrap=True, overflow="ellipsis", ratio=1 if number else None)
    return table
