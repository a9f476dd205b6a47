"""Bars for the long steps: on a terminal they move, in a log each step says that it began and how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from stream.clock import SystemClock

#: How often a step without a terminal says how far it is.
_TOLD: Final = 5


class Progress(Protocol):
    """Starts a bar for a step of so many parts, and gives what moves it on."""

    def __call__(self, title: str, total: int) -> Callable[[int], None]:
        """Start a bar."""
        ...


def silent(title: str, total: int) -> Callable[[int], None]:
    """No bars."""
    del title, total
    return lambda _: None


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """Bars on this console for as long as the context lasts."""
    if not console.is_terminal:
        yield _Lines(console).start
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Bars(*columns, console=console) as bars:

        def start(title: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(title, total=total)
            return lambda count: bars.advance(task, count)

        yield start


class Pace:
    """Bars that also measure how fast each step goes, from its first part on: what comes before is no training.

    Args:
        progress: Shows the bars.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._clock = SystemClock()
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._parts: dict[str, int] = {}

    def __call__(self, title: str, total: int) -> Callable[[int], None]:
        """Start a bar."""
        shown_advance = self._progress(title, total)

        def advance(count: int) -> None:
            shown_advance(count)
            now = self._clock.monotonic_seconds()
            if title in self._began:
                self._parts[title] = self._parts.get(title, 0) + count
                self._ended[title] = now
            else:
                self._began[title] = now

        return advance

    def per_second(self) -> dict[str, float]:
        """Parts per second by title, of steps with two parts or more."""
        return {
            title: parts / (self._ended[title] - self._began[title])
            for title, parts in self._parts.items()
            if self._ended[title] > self._began[title]
        }


class _Lines:
    """Plain lines, a few per step."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, title: str, total: int) -> Callable[[int], None]:
        done, began = 0, monotonic()
        self._console.print(f"{title}: 0/{total}")

        def advance(count: int) -> None:
            nonlocal done
            before, done = done, done + count
            if before * _TOLD // total != done * _TOLD // total:
                self._console.print(f"{title}: {done}/{total}, {monotonic() - began:.0f} s")

        return advance
