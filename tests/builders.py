"""Builders of events, records and parts: everything has a plain default, a test names only what it is about.

``FakeSender`` stands in for the ``BatchSender`` port; tests/contract/test_sender.py runs the same suite on both.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from stream.decode import Decoded, decode_event
from stream.events import CLICK_TOPIC, EVENT_TYPES, OWNED_TOPICS
from stream.fold import Received, event_hash, source_key
from stream.hashing import hash64
from stream.metrics import Metrics
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.stall import Place
from stream.window import DAY_MS, Behaviour

#: 2023-11-14 22:13:20 UTC; the record time of everything that does not say otherwise.
NOW_MS = 1_700_000_000_000
USER = "u1"
TEA: dict[str, Any] = {
    "item_id": "p1",
    "item_name": "Green Tea",
    "item_category": "Drinks",
    "item_category2": "Tea",
}


def event_fields(**changes: Any) -> dict[str, Any]:
    """A click on tea, one second before ``NOW_MS``; a change to ``...`` leaves the field out."""
    fields = {
        "event_id": "e1",
        "event_type": "click",
        "user_id": USER,
        "occurred_at_ms": NOW_MS - 1000,
        "items": [TEA],
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def event_value(**changes: Any) -> bytes:
    """The same as a record's value."""
    return orjson.dumps(event_fields(**changes))


def decoded(record_ms: int = NOW_MS, **changes: Any) -> Decoded:
    """The same, decoded."""
    return decode_event(event_value(**changes), record_ms)


def item(name: str, category: str = "Tea") -> dict[str, Any]:
    """A product of an event, known by its name."""
    return {**TEA, "item_id": name, "item_name": name, "item_category2": category}


def received(offset: int = 0, record_ms: int = NOW_MS, **changes: Any) -> Received:
    """Where a record with event id ``event_id`` (and body ``body``) stood: on ``topic`` and ``partition``."""
    event_id = changes.get("event_id", "e1").encode()
    source = source_key(OWNED_TOPICS.index(changes.get("topic", CLICK_TOPIC)), changes.get("partition", 0), 0)
    body = changes.get("body", event_id)
    return Received(source, offset, record_ms, event_hash("", event_id), hash64(body) % 2**32, event_id)


def behaviour(occurred_at_ms: int = NOW_MS, event_id: bytes = b"e1", **changes: Any) -> Behaviour:
    """One item of one event."""
    return Behaviour(
        occurred_at_ms,
        event_id,
        changes.get("position", 0),
        EVENT_TYPES.index(changes.get("kind", "click")),
        changes.get("category", 11),
        changes.get("text", 22),
    )


def days(count: float) -> int:
    """Days in ms."""
    return int(count * DAY_MS)


@dataclass(frozen=True)
class Record:
    """A consumed record, as ``stream.record.InputRecord`` describes it."""

    topic: str = CLICK_TOPIC
    partition: int = 0
    offset: int = 0
    timestamp: int = NOW_MS
    key: bytes | None = USER.encode()
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_type: int = 1

    def at(self, offset: int) -> "Record":
        """The same at another offset."""
        return replace(self, offset=offset)


class FrozenClock:
    """A clock that stands still, except that sleeping moves it on at once."""

    def __init__(self, wall_ms: int = NOW_MS, monotonic: float = 1000.0) -> None:
        self.now_ms = wall_ms
        self.monotonic = monotonic
        self.slept: list[float] = []

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_seconds(self) -> float:
        return self.monotonic

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.monotonic += seconds
        self.now_ms += int(seconds * 1000)
        await asyncio.sleep(0)


class FakeSender(BatchSender):
    """Keeps what it is given, as a broker would; fails with ``error`` while that is set."""

    def __init__(self) -> None:
        self.logs: defaultdict[tuple[str, int], list[OutRecord]] = defaultdict(list)
        self.error: Exception | None = None
        #: Where changelogs end as they are taken over.
        self.taken_at: dict[Place, int] = {}

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to disconnect."""

    async def settle(self, seconds: float) -> None:
        """Nothing is ever under way."""

    async def take_over(
        self, changelogs: Collection[Place], abandoned: Callable[[], bool]
    ) -> dict[Place, int]:
        """Nobody else writes; fails with ``error`` while that is set."""
        if self.error is not None:
            raise self.error
        return self.taken_at

    async def send(self, outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        if self.error is not None:
            raise self.error
        if any(out.records for out in outgoing) and abandoned():
            raise SendAbandonedError("the partitions moved while sending")
        offsets = []
        for out in outgoing:
            self.logs[out.topic, out.partition].extend(out.records)
            offsets.append(len(self.logs[out.topic, out.partition]) - 1 if out.records else -1)
        return offsets

    def records(self, topic: str) -> list[OutRecord]:
        """All records of a topic, by partition."""
        return [
            record
            for (name, _), log in sorted(self.logs.items(), key=lambda entry: entry[0])
            if name == topic
            for record in log
        ]


def unseen_failures() -> list[dict[str, Any]]:
    """What asyncio tells of failures that nobody looked at, from now on: of each as it is collected."""
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    return unseen


def never() -> bool:
    """Partitions that stay ours."""
    return False


def counted(metrics: Metrics) -> dict[tuple[str, str, str], float]:
    """The events counter by topic, outcome and reason; without what stands at 0."""
    return {
        (sample.labels["topic"], sample.labels["outcome"], sample.labels["reason"]): sample.value
        for family in metrics.events.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }
