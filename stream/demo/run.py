"""The demo from start to end: servers, history at once, catching up, the paced part, catching up, the sum.

Freshness is measured on the paced part alone, and that begins when the history is folded and nobody is due: neither
the history's backlog nor an idle time is in the figure.
"""

import asyncio
import signal
from collections.abc import Iterator
from typing import Final

import orjson

from stream.clock import SystemClock
from stream.demo.figures import Summary
from stream.demo.gauges import Gauges
from stream.demo.observed import Milestones, Observed, Remaining
from stream.demo.options import DemoOptions
from stream.demo.outputs import Outputs
from stream.demo.reporter import Reporter
from stream.demo.stack import PARTITIONS, Stack
from stream.replay.producer import replay
from stream.replay.recording import history_and_rest
from stream.replay.timed import TimedEvent

_LOOK_SECONDS: Final = 0.5
#: Catching up is given up after this long without any progress.
_STALLED_SECONDS: Final = 20.0
#: So often in a row nothing may be left to do, because users in hand are not due.
_QUIET_LOOKS: Final = 3
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_demo(options: DemoOptions, reporter: Reporter) -> Summary:
    """Run it until its time is over, the events are at their end or Ctrl-C; everything is closed when it returns.

    Raises:
        FatalError: Something is missing, did not start or ended by itself; the message says the cure.
    """
    began = SystemClock().monotonic_seconds()
    # Until the loop takes both signals over, a SIGTERM closes everything as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    summary: Summary | None = None
    try:
        with Stack(options, reporter) as stack:
            summary = asyncio.run(_Run(options, reporter, stack, began).course())
    finally:
        reporter.finish(summary)
    if options.summary is not None:
        options.summary.parent.mkdir(parents=True, exist_ok=True)
        options.summary.write_bytes(orjson.dumps(summary.to_json(), option=orjson.OPT_INDENT_2) + b"\n")
    return summary


class _Run:
    """One run on a started stack."""

    def __init__(self, options: DemoOptions, reporter: Reporter, stack: Stack, began: float) -> None:
        self._options = options
        self._reporter = reporter
        self._stack = stack
        self._clock = SystemClock()
        titles = {
            (campaign.cid, creative.crid): creative.title
            for campaign in stack.campaigns
            for creative in campaign.creatives
        }
        self._outputs = Outputs(stack.broker.bootstrap_servers, PARTITIONS, self._clock)
        self._gauges = Gauges(stack.health_port, self._clock)
        times = Milestones(began, ready=self._clock.monotonic_seconds())
        self._seen = Observed(options.recording, self._gauges, self._outputs, titles, times)
        #: Ends the part that sends; the flag ends the run.
        self._stop = asyncio.Event()
        self._interrupted = False
        self._failure: BaseException | None = None
        self._caught_up = False
        self._sending_history = True

    async def course(self) -> Summary:
        """All parts in turn.

        Raises:
            FatalError: The worker ended.
        """
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt)
        async with self._gauges, self._outputs:
            watch = asyncio.create_task(self._watch(), name="watch the worker")
            try:
                history, paced = history_and_rest(self._stack.events, self._options.recording.start_ms)
                await self._send(history)
                self._sending_history = False
                await self._catch_up("history")
                if not self._interrupted:
                    await self._send_paced(paced)
                    await self._catch_up("last events")
                await self._gauges.scrape()
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
        now = self._clock.monotonic_seconds()
        return self._seen.summary(now, caught_up=self._caught_up, interrupted=self._interrupted)

    # -- parts --------------------------------------------------------------------------------------------------

    async def _send(self, events: Iterator[TimedEvent]) -> None:
        await replay(
            events,
            client_kwargs=self._stack.client_kwargs,
            pace=self._seen.pace,
            clock=self._clock,
            stop=self._stop,
            stats=self._seen.stats,
        )
        self._raise_failure()

    async def _send_paced(self, events: Iterator[TimedEvent]) -> None:
        await self._seen.begin_paced(self._clock)
        if self._options.seconds is not None:
            asyncio.get_running_loop().call_later(self._options.seconds, self._stop.set)
        await self._send(events)
        self._seen.times.paced_until = self._clock.monotonic_seconds()

    async def _catch_up(self, part: str) -> None:
        """Until every event is folded, nobody is due and all updates are read; not on Ctrl-C, and not for ever."""
        await self._gauges.scrape()
        last, most = self._seen.remaining(), Remaining(1, 1, 1)
        moved_at, quiet = self._clock.monotonic_seconds(), 0
        while quiet < _QUIET_LOOKS and not self._interrupted:
            await self._clock.sleep(_LOOK_SECONDS)
            remaining, now = self._seen.remaining(), self._clock.monotonic_seconds()
            quiet = 0 if any(remaining) else quiet + 1
            if remaining != last:
                last, moved_at = remaining, now
            elif any(remaining) and now - moved_at > _STALLED_SECONDS:
                break
            most = Remaining(*map(max, most, remaining))
            self._tell(part, remaining, most)
        self._caught_up = quiet >= _QUIET_LOOKS
        self._raise_failure()

    def _tell(self, part: str, remaining: Remaining, most: Remaining) -> None:
        if remaining.unfolded:
            self._reporter.progress(f"{part}: folding", 1 - remaining.unfolded / most.unfolded)
        else:
            self._reporter.progress(f"{part}: scoring {most.due} users", 1 - remaining.due / most.due)

    # -- watching -----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Keep the figures new; what goes wrong ends the part that runs and is raised there."""
        try:
            while True:
                self._stack.worker.require_running()
                self._outputs.require_reading()
                await self._gauges.scrape()
                self._show()
                await self._clock.sleep(_LOOK_SECONDS)
        except Exception as error:  # noqa: BLE001 - nobody waits for this task
            self._failure = error
            self._interrupted = True
            self._stop.set()

    def _show(self) -> None:
        seen = self._seen
        if seen.times.paced is not None:
            self._reporter.show(seen.view(self._clock.monotonic_seconds(), self._options.seconds))
        elif self._sending_history:
            self._reporter.progress("history: sending", seen.history_share())

    def _interrupt(self) -> None:
        """The first Ctrl-C ends in order, the second at once."""
        self._interrupted = True
        self._stop.set()
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
