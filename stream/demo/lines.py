"""The demo's face without a terminal: plain lines, few of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from stream.clock import Clock
from stream.demo.figures import Summary, View

#: Between two lines of one kind.
_LINE_SECONDS: Final = 5.0


class Lines:
    """Writes a line now and then."""

    def __init__(self, clock: Clock, write: Callable[[str], None]) -> None:
        self._clock = clock
        self._write = write
        self._next_at = 0.0

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """See ``Reporter``."""
        began = self._clock.monotonic_seconds()
        yield
        self._write(f"{text}: ready after {self._clock.monotonic_seconds() - began:.1f} s")

    def progress(self, text: str, done: float) -> None:
        """See ``Reporter``."""
        if self._is_time():
            self._write(f"{text}, {done:.0%}")

    def show(self, view: View) -> None:
        """See ``Reporter``."""
        if not self._is_time():
            return
        self._write(figures_line(view))
        for update in view.latest_updates[:1]:
            self._write(f"  user {update.user} wants {update.interests}; moved by {update.moved_by}")
        for decision in view.latest_decisions[:1]:
            self._write(f"  user {decision.user} gets {decision.ad}; {decision.reason}")

    def finish(self, summary: Summary | None) -> None:
        """See ``Reporter``."""
        if summary is not None:
            for name, text in summary_rows(summary):
                self._write(f"{name:<22}{text}")

    def _is_time(self) -> bool:
        now = self._clock.monotonic_seconds()
        if now < self._next_at:
            return False
        self._next_at = now + _LINE_SECONDS
        return True


def figures_line(view: View) -> str:
    """A picture in one line."""
    at = datetime.fromtimestamp(view.virtual_ms / 1000, UTC)
    events = sum(topic.total for topic in view.topics)
    rate = sum(topic.per_second for topic in view.topics)
    return (
        f"{view.elapsed_seconds:.0f} s  {at:%Y-%m-%d %H:%M}  {events} events ({rate:.0f}/s)  {view.updates} updates  "
        f"{view.decisions} decisions  {view.dead_letters} dead letters  freshness p50 {milliseconds(view.freshness_p50_ms)} "
        f"p99 {milliseconds(view.freshness_p99_ms)}  {view.model_calls} model calls ({view.model_calls_per_second:.0f}/s)  "
        f"cache hits {percent(view.cache_hit_ratio)}  {view.due_users} due"
    )


def summary_rows(summary: Summary) -> list[tuple[str, str]]:
    """The sum as names and values, for a person."""
    p50, p99 = milliseconds(summary.freshness_p50_ms), milliseconds(summary.freshness_p99_ms)
    first = summary.first_update_seconds
    return [
        ("ended", _ending(summary)),
        (
            "virtual time",
            f"{summary.virtual_from} to {summary.virtual_until}, {summary.speed:g} times real time",
        ),
        ("users", str(summary.users)),
        *((topic, f"{count} events") for topic, count in summary.events.items()),
        (
            "of these",
            f"{summary.history_events} history, {summary.generated_events} generated (no one did them)",
        ),
        ("interest updates", str(summary.updates)),
        ("ad decisions", f"{summary.decisions}, {summary.decisions_filled} with an ad"),
        ("dead letters", str(summary.dead_letters)),
        ("model calls", f"{summary.model_calls}, vector cache hits {percent(summary.cache_hit_ratio)}"),
        ("freshness", f"p50 {p50}, p99 {p99} over {summary.freshness_count} updates of the paced part"),
        ("worker ready", f"after {summary.started_seconds} s"),
        ("first update", "none" if first is None else f"after {first} s"),
        (
            "history, paced, all",
            f"{summary.history_seconds} s, {summary.paced_seconds} s, {summary.total_seconds} s",
        ),
        ("data", summary.data),
    ]


def milliseconds(value: float | None) -> str:
    """For a person; a dash where nothing was measured."""
    return "-" if value is None else f"{value:.0f} ms"


def percent(ratio: float | None) -> str:
    """For a person; a dash where nothing was measured."""
    return "-" if ratio is None else f"{ratio:.1%}"


def _ending(summary: Summary) -> str:
    if summary.interrupted:
        return "on request, before its time"
    return "all events folded, nobody due" if summary.caught_up else "NOT caught up: see the worker's log"
