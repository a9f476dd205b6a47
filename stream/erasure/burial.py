"""The end of an erasure: once SCORE published it, the user's key goes from the state as well.

Between FOLD's erasure and this a user is known by a marker under his own key, so that a crash forgets neither the
tombstone on ``interest.updates`` nor this step. Afterwards only the marker under its hashed key is left.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stream.live import LiveStates
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.state import peek_erased, peek_revision
from stream.stores.backend import PartitionStore


class Grave(NamedTuple):
    """A user whose erasure of that revision is published."""

    partition: int
    key: bytes
    revision: int


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
            by_partition: dict[int, list[bytes]] = {}
            for grave in graves:
                if self._is_marker(grave):
                    by_partition.setdefault(grave.partition, []).append(grave.key)
            if not by_partition:
                return
            if abandoned():
                raise SendAbandonedError("the partitions moved while burying; the new owner does it")
            outgoing = [
                Outgoing(self._changelog_topic, partition, [OutRecord(key, None) for key in keys])
                for partition, keys in by_partition.items()
            ]
            offsets = await self._sender.send(outgoing, abandoned)
            for (partition, keys), offset in zip(by_partition.items(), offsets, strict=True):
                self._live.discard(partition, keys)
                self._store.put_batch(partition, [(key, None) for key in keys], offset)
        for partition, keys in by_partition.items():
            await purge(self._store, partition, keys)

    def _is_marker(self, grave: Grave) -> bool:
        data = self._store.get(grave.partition, grave.key)
        return data is not None and peek_erased(data) and peek_revision(data) == grave.revision


async def purge(store: PartitionStore, partition: int, keys: Iterable[bytes]) -> None:
    """Take what was deleted off the disk, in a thread of its own: files are rewritten."""
    await asyncio.to_thread(store.purge, partition, list(keys))
