"""Forgetting users, by FOLD alone: between two bundles, so that no event of theirs is in hand meanwhile.

The changelog's tombstone comes first, then the store lets go, then the user is due: SCORE finds no state any more,
withdraws the last update and deletes its own record (stream.publisher).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import structlog

from stream.clock import Clock, StreamTime
from stream.due import DueUsers
from stream.erasure.marker import is_marker_key
from stream.live import LiveStates
from stream.metrics import Metrics
from stream.sender import BatchSender, Outgoing, OutRecord
from stream.state import peek_erased, peek_folded, peek_moved
from stream.stores.backend import PartitionStore
from stream.sweep import EvictionRules, Seen, evicted, is_crowded

log = structlog.get_logger(__name__)

#: Between two looks at all users; a look at 100,000 takes about 0.1 s.
_SWEEP_SECONDS: Final = 600.0
#: Tombstones of one send.
_BATCH: Final = 1000
#: Other tasks get their turn after this many users of a scan.
_YIELD_EVERY: Final = 2000


class EvictionParts(Protocol):
    """What forgetting works with: some of FOLD's parts."""

    @property
    def store(self) -> PartitionStore: ...  # noqa: D102 - named as in stream.ingest.FoldParts
    @property
    def sender(self) -> BatchSender: ...  # noqa: D102
    @property
    def due(self) -> DueUsers: ...  # noqa: D102
    @property
    def time(self) -> StreamTime: ...  # noqa: D102
    @property
    def clock(self) -> Clock: ...  # noqa: D102
    @property
    def metrics(self) -> Metrics: ...  # noqa: D102


class Evictor:
    """Sweeps all partitions of the worker now and then, and at once when there are too many users."""

    def __init__(
        self, parts: EvictionParts, live: LiveStates, rules: EvictionRules, changelog_topic: str
    ) -> None:
        self._parts = parts
        self._live = live
        self._rules = rules
        self._changelog_topic = changelog_topic
        self._next_at = parts.clock.monotonic_seconds() + _SWEEP_SECONDS

    async def sweep(self, abandoned: Callable[[], bool]) -> None:
        """Forget whom the rules say, if it is time to look.

        Raises:
            SendAbandonedError: If the partitions moved while sending.
        """
        store, now = self._parts.store, self._parts.clock.monotonic_seconds()
        partitions = sorted(store.partitions())
        crowded = is_crowded(sum(map(store.count, partitions)), self._rules)
        if now < self._next_at and not crowded:
            return
        self._next_at = now + _SWEEP_SECONDS
        most = max(self._rules.max_users // max(len(partitions), 1), 1) if crowded else 0
        for partition in partitions:
            await self._sweep_partition(partition, most, abandoned)

    async def _sweep_partition(self, partition: int, most: int, abandoned: Callable[[], bool]) -> None:
        seen: list[Seen] = []
        for count, one in enumerate(self._seen(partition)):
            if count % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
                if abandoned():
                    return
            seen.append(one)
        gone = evicted(seen, self._parts.time.now_ms(), self._rules, most)
        keys = list(gone)
        for start in range(0, len(keys), _BATCH):
            if abandoned():  # a tombstone from here would come after what the new owner wrote
                return
            await self._forget(partition, keys[start : start + _BATCH], abandoned)
        for why, users in Counter(gone.values()).items():
            self._parts.metrics.evicted.labels(why).inc(users)
            log.info("users_forgotten", partition=partition, users=users, why=why)

    def _seen(self, partition: int) -> Iterator[Seen]:
        for key, data in self._parts.store.scan(partition):
            yield Seen(peek_folded(data), key, peek_erased(data), peek_moved(data))

    async def _forget(self, partition: int, keys: list[bytes], abandoned: Callable[[], bool]) -> None:
        parts = self._parts
        tombstones = Outgoing(self._changelog_topic, partition, [OutRecord(key, None) for key in keys])
        (offset,) = await parts.sender.send([tombstones], abandoned)
        parts.store.put_batch(partition, [(key, None) for key in keys], offset)
        self._live.discard(partition, keys)
        now = parts.clock.monotonic_seconds()
        for key in keys:
            if not is_marker_key(key):  # of an erased user nothing is out
                parts.due.mark(partition, key, now)
