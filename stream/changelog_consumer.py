"""Changelogs to recovery: a bundle of one partition's records as one event of its last offset.

Stock Faust takes some 150 µs a record for one event each. ``stream.stores.table`` unpacks a bundle; between the two, recovery stays
stock: it believes that a message of an offset has brought everything before it, and it never looks for a hole. So:

1. Nothing of a changelog is delivered before recovery has sought it, and nothing that was fetched before that. (Faust lets
   partitions flow for a moment as they are assigned; the rest of such a fetch would come after the seek, as if what
   lies before had been read.)
2. Nothing is taken in that was delivered before the partitions were assigned. (A message that waits while the flow is stopped reaches
   recovery once it is resumed, and recovery notes its offset even of a partition that is another worker's meanwhile: if that
   comes back, it is read on from there, without all that lies before.)
3. What recovery has sought and is fetched, but not delivered, is sought again. (A fetch that was begun before a rebalance goes on through
   it. Once everything is paused it takes records of any partition, as an empty set filters nothing in aiokafka: the first of
   what recovery has just sought. With the flow still stopped stock Faust throws them away, and reads on behind them: the
   users of a compacted log's beginning begin anew.)
4. A changelog whose last records were compacted away ends with an empty bundle; stock Faust waits for them for ever
   (faust-streaming #176).

Order is not guarded as that of inputs is: a compacted log has holes.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from aiokafka import ConsumerRecord
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.utils.queues import ThrowableQueue

Records = list[ConsumerRecord[bytes, bytes]]


class ChangelogQueue(ThrowableQueue[Any]):
    """Between delivery and recovery; see rule 2.

    Args:
        generation: Tells the one of the assignment in force.
    """

    def __init__(self, generation: Callable[[], int], **options: Any) -> None:
        super().__init__(**options)
        self._generation = generation

    async def get(self) -> Any:
        """The next event of this assignment."""
        while True:
            event = await super().get()
            if event.message.generation_id == self._generation():
                return event


class ChangelogConsumer(driver.Consumer):
    """The part of our consumer that reads changelogs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Where recovery began to read each changelog partition; none before it does.
        self._sought_changelogs: dict[TP, int] = {}
        #: Odd while recovery seeks.
        self._changelog_seeks = 0

    async def _seek(self, partition: TP, offset: int) -> None:
        """Faust's way to seek, in the thread that fetches."""
        thread: Any = self._thread  # a stream.static_member.StaticMemberThread
        await thread.seek_inside(partition, offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Recovery seeks changelogs as it begins: what was fetched before is void."""
        self._sought_changelogs = {TP(*tp): offset for tp, offset in partitions.items()}
        self._changelog_seeks += 1
        try:
            await super().seek_wait(partitions)
        finally:
            self._changelog_seeks += 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Deliver nothing of a changelog until recovery begins anew."""
        self._sought_changelogs.clear()
        await super().on_partitions_revoked(revoked)

    async def _changes_of(
        self, tp: TP, fetched: Records, most: int, generation: int, seeks: int
    ) -> AsyncIterator[Any]:
        """Bundles of what a fetch brought that was begun after so many seeks."""
        for start in range(0, len(fetched), most):
            if self._interrupted(generation) or tp not in self._sought_changelogs:
                return  # recovery seeks it as it begins
            if seeks % 2 or seeks != self._changelog_seeks:
                # The fetch may have been answered before or after the seek: what came after it must not be missed.
                await self._read_again([tp])
                return
            chunk = fetched[start : start + most]
            yield self._bundle_message(tp, chunk, chunk[-1].offset, generation)

    async def _read_again(self, fetched: Iterable[TP]) -> None:
        """Seek those of these changelogs that recovery has sought to where it did; see rule 3."""
        for tp in fetched:
            if (offset := self._sought_changelogs.get(tp)) is not None:
                with suppress(IllegalStateError):  # revoked meanwhile
                    await self.seek(tp, offset)

    async def _ends_without_records(self, changelogs: set[TP], generation: int) -> AsyncIterator[Any]:
        """An empty bundle up to where a changelog was read without records coming of it."""
        for tp in changelogs & self._sought_changelogs.keys():
            seeks = self._changelog_seeks
            try:
                position = await self.position(tp)
            except IllegalStateError:  # revoked meanwhile
                return
            if self._interrupted(generation) or seeks % 2 or seeks != self._changelog_seeks:
                return
            if position is not None and position - 1 > (self._read_offset[tp] or -1):
                yield self._bundle_message(tp, [], position - 1, generation)

    def _interrupted(self, generation: int) -> bool:
        return not self.flow_active or self.app.consumer_generation_id != generation

    @staticmethod
    def _bundle_message(tp: TP, chunk: Records, last_offset: int, generation: int) -> Any:
        timestamp, kind = (chunk[-1].timestamp or 0, chunk[-1].timestamp_type) if chunk else (0, 0)
        value = cast("bytes", chunk)  # Faust passes it through as it is
        return ConsumerMessage(
            tp.topic, tp.partition, last_offset, timestamp / 1000.0, kind, [], None, value, None, 0, 0, tp,
            generation_id=generation,
        )  # fmt: skip
