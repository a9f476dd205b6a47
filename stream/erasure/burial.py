"""The end of an erasure: once SCORE published it, the user's key goes from the state as well.

Of a user whose consent ran out without any event, it is what the user did that goes: what was said stays.

Between FOLD's erasure and this a user is known by a marker under his own key, so that a crash forgets neither the
tombstone on ``interest.updates`` nor this step. Afterwards only the marker under its hashed key is left.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stream.control import emptied_state, has_profile
from stream.live import LiveStates
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.state import decode_state, encode_state, peek_erased, peek_revision
from stream.stores.backend import Item, PartitionStore


class Grave(NamedTuple):
    """A user of whom nothing is out any more, as of that revision of the state."""

    partition: int
    key: bytes
    revision: int
    is_known: bool = False
    """Not erased: who may not be profiled. What was said stays."""


class Burial:
    """Deletes the keys of erased users from the state; a part of FOLD, the only writer of that table."""

    def __init__(
        self,
        store: PartitionStore,
        sender: BatchSender,
        live: LiveStates,
        busy: asyncio.Lock,
        changelog_topic: str,
    ) -> None:
        self._store = store
        self._sender = sender
        self._live = live
        self._busy = busy
        self._changelog_topic = changelog_topic

    async def bury(self, graves: Sequence[Grave], abandoned: Callable[[], bool]) -> None:
        """Make the deletions durable; who has come back meanwhile is left alone.

        Raises:
            SendAbandonedError: If the partitions moved; the new owner finds these users due and buries them.
        """
        async with self._busy:
            by_partition: dict[int, list[Item]] = {}
            for grave in graves:
                by_partition.setdefault(grave.partition, []).extend(self._left_of(grave))
            by_partition = {partition: items for partition, items in by_partition.items() if items}
            if not by_partition:
                return
            if abandoned():
                raise SendAbandonedError("the partitions moved while burying; the new owner does it")
            outgoing = [
                Outgoing(self._changelog_topic, partition, [OutRecord(key, value) for key, value in items])
                for partition, items in by_partition.items()
            ]
            offsets = await self._sender.send(outgoing, abandoned)
            if abandoned():  # as FOLD: what is gone must not come back into the store
                raise SendAbandonedError("the partitions moved while burying; the new owner does it")
            for (partition, items), offset in zip(by_partition.items(), offsets, strict=True):
                self._live.discard(partition, [key for key, _ in items])
                self._store.put_batch(partition, items, offset)
        for partition, items in by_partition.items():
            await purge(self._store, partition, [key for key, _ in items])

    def _left_of(self, grave: Grave) -> list[Item]:
        """What takes the place of the state: nothing of a marker, of others what the user said."""
        data = self._store.get(grave.partition, grave.key)
        if data is None or peek_revision(data) != grave.revision:
            return []
        if peek_erased(data):
            return [(grave.key, None)]
        state = decode_state(data)
        if not grave.is_known or state.ties.into or not has_profile(state):  # a redirect keeps ids of events
            return []
        return [(grave.key, encode_state(emptied_state(state)))]


async def purge(store: PartitionStore, partition: int, keys: Iterable[bytes]) -> None:
    """Take what was deleted off the disk, in a thread of its own: files are rewritten."""
    await asyncio.to_thread(store.purge, partition, list(keys))
