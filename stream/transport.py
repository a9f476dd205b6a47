"""Kafka to agent, one Faust event per bundle: a run of one partition's records, in order, without holes.

Stock Faust pays about 440 µs a record for one event each. This consumer stays inside Faust's extension points
(``App.transport``, ``Transport.Consumer``); recovery, rebalancing, flow control and the commit timer stay stock;
changelogs are read as stream.changelog_consumer says.

Five rules, each with a test in tests/unit/test_transport.py that fails without it:

1. Commit only past the head run of acked bundles; heads below the committed offset are dropped.
2. Fetched records are never dropped without seeking back to them.
3. Each partition is delivered without holes: a forward jump seeks back once (what is missing then is missing in
   the log), records delivered before are filtered and counted.
4. Seek and revocation reset all of that.
5. A partition with nothing committed gets an explicit seek to its beginning and an initial commit; Faust gives none.
   One of which 0 is committed gets the seek.

And the guard: Faust resumes input partitions *before* it seeks them after recovery, which loses records on a
graceful restart, and lets them flow *before* it ends the rebalance, so that a first bundle would be abandoned as one of
the rebalance. Here a resume of inputs is held until their seek is done and the rebalance is over.
"""

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.changelog_consumer import ChangelogConsumer, Records
from stream.static_member import StaticMemberThread

#: Checks the positions that delivery is about to start from and gives those to use instead.
PositionCheck = Callable[[Mapping[TP, int]], Awaitable[Mapping[TP, int]]]
#: Shuts out whoever wrote these changelogs before, and gives where each ended; empty if the broker can't.
TakeOver = Callable[[Collection[TP]], Awaitable[Mapping[TP, int]]]
#: Checks changelog partitions, given their beginnings and ends, before tables are recovered from them; gives those
#: whose beginning is to be committed: what was before is known to be nothing.
ChangelogCheck = Callable[[Mapping[TP, int], Mapping[TP, int]], Awaitable[Mapping[TP, int]]]


class TransportObserver(Protocol):
    """Gets told what the order guard saw."""

    def sought_back(self, topic: str) -> None:
        """A forward jump was answered by seeking back."""

    def filtered_repeats(self, topic: str, records: int) -> None:
        """Records came again that were already delivered."""

    def source_rewound(self, topic: str, records: int) -> None:
        """The log now ends below what was delivered: it was recreated or truncated."""


class BundleSettings(NamedTuple):
    """What a bundle consumer needs beside Faust."""

    topics: frozenset[str]
    max_records: int
    check_positions: PositionCheck
    take_over: TakeOver
    check_changelogs: ChangelogCheck
    check_seeks: Callable[[Mapping[TP, int]], None]
    """Of changelogs, as recovery begins to read them."""
    check_recovered: Callable[[], None]
    """Before inputs flow."""
    observer: TransportObserver


class BundleConsumer(ChangelogConsumer):
    """A Faust consumer that delivers bundles: of the input topics in order and to be acked, of changelogs as they come."""

    settings: BundleSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Last offsets of delivered bundles that are not committed yet, in delivery order.
        self._bundles: defaultdict[TP, deque[int]] = defaultdict(deque)
        #: The next offset that must be delivered.
        self._expected: dict[TP, int] = {}
        #: Expected offset at which a forward jump was already answered by seeking back.
        self._sought_back_at: dict[TP, int] = {}
        #: Input partitions whose resume waits for their seek and the end of the rebalance.
        self._held: set[TP] = set()
        self._sought = False
        self._released = False

    def _new_consumer_thread(self) -> StaticMemberThread:
        return StaticMemberThread(self, loop=self.loop, beacon=self.beacon)

    def _is_input(self, tp: TP) -> bool:
        return tp.topic in self.settings.topics

    # -- delivery ---------------------------------------------------------------------------------------------

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Fetch once and yield a bundle or some of each partition."""
        seeks = self._changelog_seeks
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self._seek_while_stopped()
            await self._read_again(records)
            return
        if not records:
            changelogs = {tp for tp in active or () if not self._is_input(tp)}
            async for message in self._ends_without_records(changelogs, generation):
                yield message.tp, message
        async for message in self._delivery_of(records, active, generation, seeks):
            yield message.tp, message

    async def _delivery_of(
        self, records: Mapping[TP, Records], active: set[TP] | None, generation: int, seeks: int
    ) -> AsyncIterator[Any]:
        for tp, fetched in records.items():
            if self._interrupted(generation):
                return  # the seek after the rebalance starts from the committed offsets
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                if self._is_input(tp) and tp in self.assignment():  # to seek another's partition is an error
                    await self._seek(tp, fetched[0].offset)
                continue
            most = self.settings.max_records
            messages = (
                self._bundles_of(tp, fetched, generation)
                if self._is_input(tp)
                else self._changes_of(tp, fetched, most, generation, seeks)
            )
            async for message in messages:
                yield message

    async def _bundles_of(self, tp: TP, fetched: Records, generation: int) -> AsyncIterator[Any]:
        records = await self._in_order(tp, fetched)
        for start in range(0, len(records), self.settings.max_records):
            if self._interrupted(generation):
                return
            chunk = records[start : start + self.settings.max_records]
            last = chunk[-1].offset
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            self._bundles[tp].append(last)
            self._expected[tp] = last + 1
            yield self._bundle_message(tp, chunk, last, generation)

    async def _in_order(self, tp: TP, fetched: Records) -> Records:
        """The part of a fetch that continues what was delivered; empty after a jump that was sought back."""
        expected = self._expected.get(tp)
        if expected is None or fetched[0].offset == expected:
            return fetched
        records = [record for record in fetched if record.offset >= expected]
        self._note_repeats(tp, len(fetched) - len(records), expected)
        if records and records[0].offset > expected and self._sought_back_at.get(tp) != expected:
            self._sought_back_at[tp] = expected
            self.settings.observer.sought_back(tp.topic)
            await self._seek(tp, expected)
            return []
        return records

    def _note_repeats(self, tp: TP, repeats: int, expected: int) -> None:
        if not repeats:
            return
        end = self.highwater(tp)
        if end is not None and end < expected:
            self.settings.observer.source_rewound(tp.topic, repeats)
            self.log.error(
                "%s partition %s now ends at %s, below offset %s that was already delivered: "
                "recreated or truncated; raise INTERESTFLOW_KAFKA__SOURCE_EPOCH and restart",
                tp.topic, tp.partition, end, expected,
            )  # fmt: skip
        else:
            self.settings.observer.filtered_repeats(tp.topic, repeats)

    # -- positions --------------------------------------------------------------------------------------------

    async def _seek_while_stopped(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:  # noqa: BLE001 - as stock: the seek after recovery comes anyway
            self.log.warning("seek while the flow is stopped: %r", error)

    async def perform_seek(self) -> None:
        """Seek all partitions to where delivery goes on; held inputs may then be fetched once the rebalance is over."""
        if self._held:  # recovery is done
            self.settings.check_recovered()
        await super().perform_seek()
        inputs = [tp for tp in self.assignment() if self._is_input(tp)]
        committed = {tp: offset for tp in inputs if (offset := self._read_offset[tp]) is not None}
        fresh = [tp for tp in inputs if tp not in committed]
        beginnings = await self.earliest_offsets(*fresh) if fresh else {}
        positions = {TP(*tp): offset for tp, offset in {**committed, **beginnings}.items()}
        checked = await self.settings.check_positions(positions)
        moved = [tp for tp in inputs if tp not in committed or checked[tp] != positions[tp]]
        for tp in inputs:
            # aiokafka's seek to what is committed passes over 0, and a fetch of before the rebalance may have moved it.
            if tp in moved or checked[tp] == 0:
                await self.seek(tp, checked[tp])
        await self._commit_anew({tp: checked[tp] for tp in moved})
        self._reset_order(checked)
        # Partitions are held only after recovery asked for them, so a seek before that says nothing.
        self._sought = bool(self._held)

    async def _commit_anew(self, positions: Mapping[TP, int]) -> None:
        """The first commit of a partition, or one below the old in a log of a new epoch: Faust commits only upwards."""
        if positions and await self._commit(positions):
            self._committed_offset.update(positions)

    async def highwaters(self, *tps: TP) -> Mapping[TP, int]:
        """End offsets; Faust asks for those of the changelogs as it begins to recover tables from them.

        So their writers of before are shut out here: what a changelog has up to the end given is all that they ever wrote.
        """
        ends: Mapping[TP, int] = await super().highwaters(*tps)
        changelogs = [TP(*tp) for tp in tps if not self._is_input(tp)]
        if not changelogs:
            return ends
        beginnings = await self.earliest_offsets(*changelogs)
        # Before anything is written: a log that ends too early must not grow by being looked at.
        if known := await self.settings.check_changelogs(beginnings, ends):
            await self._commit(known)
        return {**ends, **(await self.settings.take_over(changelogs))}

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Recovery seeks changelogs as it begins."""
        self.settings.check_seeks({TP(*tp): offset for tp, offset in partitions.items()})
        await super().seek_wait(partitions)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Resume changelogs at once and inputs when the module's guard lets them."""
        wanted = {TP(*tp) for tp in tps}
        inputs = {tp for tp in wanted if self._is_input(tp)}
        if inputs and not self._released:
            self._held |= inputs
            wanted -= inputs
        super().resume_partitions(wanted)

    def rebalance_ended(self) -> None:
        """Let inputs that were sought be fetched: from now on nothing that is delivered counts as of the rebalance."""
        if self._sought and self._held:
            self._released = True
            held, self._held = self._held, set()
            super().resume_partitions(held)

    # -- commits ----------------------------------------------------------------------------------------------

    def _new_offset(self, tp: TP) -> int | None:
        """Commit position of a partition: just past the head run of acked bundles, else None."""
        if not self._is_input(tp):
            offset: int | None = super()._new_offset(tp)
            return offset
        acked, heads = self._acked_index[tp], self._bundles[tp]
        committed = self._committed_offset[tp] or 0
        position: int | None = None
        # Faust ignores acks below the committed offset, so such a head would be waited for for ever.
        while heads and (heads[0] in acked or heads[0] < committed):
            last = heads.popleft()
            acked.discard(last)
            position = last + 1
        if position is not None:
            self._acked[tp][:] = [offset for offset in self._acked[tp] if offset >= position]
        return position

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Bundles leave no gaps to be filled; between their last offsets there is nothing to wait for."""
        if not self._is_input(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    async def is_read_to(self, tp: TP, end_offset: int) -> bool:
        """Whether everything before that offset was fetched and all bundles of it are committed."""
        position = await self.position(tp)
        return not self._bundles.get(tp) and position is not None and position >= end_offset

    # -- rebalance --------------------------------------------------------------------------------------------

    def _reset_order(self, positions: Mapping[TP, int]) -> None:
        self._bundles.clear()
        self._expected = dict(positions)
        self._sought_back_at.clear()

    def _hold_inputs(self) -> None:
        self._sought = self._released = False
        self._held.clear()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Hold the inputs anew: recovery of the assignment before may have gone on meanwhile."""
        self._hold_inputs()
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget revoked partitions; what they delivered and did not commit comes again elsewhere."""
        self._hold_inputs()
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._bundles.pop(tp, None)
            self._expected.pop(tp, None)
            self._sought_back_at.pop(tp, None)


def bundle_transport(settings: BundleSettings) -> type[driver.Transport]:
    """A Faust transport class whose consumer bundles; set an instance as ``App.transport``."""
    consumer = type("SettledBundleConsumer", (BundleConsumer,), {"settings": settings})
    return type("BundleTransport", (driver.Transport,), {"Consumer": consumer})
