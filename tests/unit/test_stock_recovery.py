"""Why inputs are held until a rebalance is over: what stock Faust does with records that come before.

Faust's own recovery, consumer and flow control, over a thread that stands in for aiokafka's. If a release of Faust mends
this, the first test fails, and the guard of stream/transport.py can be looked at anew. docs/reliability.md has the same on
Apache Kafka.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any

import faust
import pytest
from aiokafka import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from stream.transport import BundleSettings, bundle_transport

CLICK = TP("behaviour.click", 0)
COMMITTED = 7
END = 10


class SeekingThread(Service):
    """A log of ten records of which seven are committed; somebody fetches as soon as the seek is done."""

    def __init__(self) -> None:
        super().__init__()
        self.position_now = COMMITTED
        self.fetch: Callable[[], Awaitable[None]] | None = None

    async def seek_to_committed(self) -> dict[TP, int]:
        self.position_now = COMMITTED
        assert self.fetch is not None
        await self.fetch()  # Faust's fetcher is running: it has just read the changelog
        return {CLICK: COMMITTED}

    async def getmany(self, active: set[TP], _: float) -> dict[TP, list[Any]]:
        if CLICK not in active or self.position_now == END:
            return {}
        fetched = [_record(offset) for offset in range(self.position_now, END)]
        self.position_now = END
        return {CLICK: fetched}

    def assignment(self) -> set[TP]:
        return {CLICK}

    def highwater(self, _: TP) -> int:
        return END


def _record(offset: int) -> Any:
    return ConsumerRecord(CLICK.topic, 0, offset, 1_700_000_000_000, 1, b"k", b"v", None, 1, 1, ())


class App(faust.App):
    """As the worker's: it tells our consumer that the rebalance is over."""

    def on_rebalance_end(self) -> None:
        super().on_rebalance_end()
        if hasattr(self.consumer, "rebalance_ended"):
            self.consumer.rebalance_ended()


class Worker:
    """As much of a worker as recovery needs, with the queue of one agent."""

    def __init__(self, transport_type: Any) -> None:
        app: Any = App("interestflow", broker="kafka://127.0.0.1:1", web_enabled=False, autodiscover=False)
        self.app = app
        self.app.consumer_generation_id = 1
        self.thread = SeekingThread()
        self.thread.fetch = self.fetch
        thread = self.thread
        stubbed = type("Stubbed", (transport_type.Consumer,), {"_new_consumer_thread": lambda _: thread})
        transport = transport_type(self.app.conf.broker_consumer, self.app, loop=None)
        self.app.consumer = stubbed(
            transport, callback=_ignored, on_partitions_revoked=_ignored, on_partitions_assigned=_ignored
        )
        self.app._fetcher = NoFetcher()
        self.queue = self.app.FlowControlQueue(maxsize=0, clear_on_resume=True)
        self.app.consumer.pause_partitions({CLICK})
        self.app.flow_control.resume()  # for the changelog

    async def fetch(self) -> None:
        """What the fetcher does: one fetch, into the agent's queue."""
        messages: AsyncIterator[tuple[TP, Any]] = self.app.consumer.getmany(timeout=1.0)
        async for _, message in messages:
            self.queue.put_nowait(message)

    async def recovered(self) -> None:
        """Recovery is complete: Faust's own order of resuming, seeking and letting the flow go on."""
        await self.app.tables.recovery.on_recovery_completed(1)

    def waiting(self) -> list[int]:
        """Offsets in the agent's queue."""
        return [self.queue.get_nowait().offset for _ in range(self.queue.qsize())]


class NoFetcher:
    """The test fetches itself."""

    async def maybe_start(self) -> None:
        """There is none."""


async def _ignored(*_: Any, **__: Any) -> None:
    """A callback of Faust's that does not matter here."""


async def _as_they_are(positions: Mapping[TP, int]) -> Mapping[TP, int]:
    return positions


async def _nobody(_changelogs: Collection[TP]) -> Mapping[TP, int]:
    return {}


async def _nothing_known(_beginnings: Mapping[TP, int], _ends: Mapping[TP, int]) -> Mapping[TP, int]:
    return {}


def _fine(*_: Any) -> None:
    """Nothing is missing."""


class Unseen:
    """Nothing to be told about."""

    def sought_back(self, topic: str) -> None:
        pytest.fail(topic)

    def filtered_repeats(self, topic: str, records: int) -> None:
        pytest.fail(f"{topic} {records}")

    def source_rewound(self, topic: str, records: int) -> None:
        pytest.fail(f"{topic} {records}")


async def test_stock_faust_throws_away_what_comes_between_the_seek_and_the_end_of_recovery() -> None:
    worker = Worker(driver.Transport)

    await worker.recovered()
    await worker.fetch()

    # Fetched, in no queue any more, and not fetched again: the next commit goes past all three.
    assert worker.thread.position_now == END
    assert worker.waiting() == []


async def test_our_transport_fetches_nothing_before_that_and_everything_after_it() -> None:
    settings = BundleSettings(
        frozenset({CLICK.topic}), 2, _as_they_are, _nobody, _nothing_known, _fine, _fine, Unseen()
    )
    worker = Worker(bundle_transport(settings))

    await worker.recovered()
    before = worker.thread.position_now
    await worker.fetch()

    assert (before, worker.waiting()) == (COMMITTED, [8, 9])  # the last offset of each bundle
