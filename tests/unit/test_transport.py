"""The bundle transport, rule by rule, over a thread that stands in for aiokafka's.

Each rule of stream/transport.py has at least one test here that fails when the rule is taken out.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import faust
import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import IllegalStateError
from faust.types import TP
from mode import Service

from stream.errors import SourceRewoundError
from stream.transport import BundleConsumer, BundleSettings, bundle_transport

CLICK = TP("behaviour.click", 0)
BROWSE = TP("behaviour.browse", 0)
CHANGELOG = TP("interestflow-user-behaviour-changelog", 0)


def record(tp: TP, offset: int, timestamp: int | None = 1_700_000_000_000) -> Any:
    """A record with its offset as value."""
    value = str(offset).encode()
    return ConsumerRecord(tp.topic, tp.partition, offset, timestamp, 1, b"k", value, None, 1, len(value), ())


class BrokerThread(Service):
    """aiokafka's consumer as Faust's driver shows it: logs, positions, committed offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[TP, list[Any]] = {}
        self.positions: dict[TP, int] = {}
        self.committed: dict[TP, int] = {}
        self.assigned: set[TP] = set()
        self.seeks: list[tuple[TP, int]] = []
        self.commits: list[dict[TP, int]] = []
        self.ends: dict[TP, int | None] = {}
        #: Answers of fetches that don't follow the positions, as a race would give them.
        self.racing: list[dict[TP, list[Any]]] = []
        #: Called while recovery seeks.
        self.during_seek: Callable[[], Awaitable[None]] | None = None
        #: Called while a fetch is under way.
        self.during_fetch: Callable[[], None] | None = None

    def write(self, tp: TP, *offsets: int) -> None:
        """Append records; a partition that is written is assigned."""
        self.assigned.add(tp)
        self.logs.setdefault(tp, []).extend(record(tp, offset) for offset in offsets)

    async def getmany(self, active_partitions: set[TP] | None, _: float) -> dict[TP, list[Any]]:
        fetched = self.racing.pop(0) if self.racing else self._fetch(active_partitions or set())
        if self.during_fetch is not None:
            self.during_fetch()
        return fetched

    def _fetch(self, active: set[TP]) -> dict[TP, list[Any]]:
        fetched = {
            tp: [one for one in log if one.offset >= self.positions.get(tp, 0)]
            for tp, log in self.logs.items()
            if tp in active and tp in self.assigned
        }
        for tp, records in fetched.items():
            if records:
                self.positions[tp] = records[-1].offset + 1
        return {tp: records for tp, records in fetched.items() if records}

    def seek(self, tp: TP, offset: int) -> None:
        if tp not in self.assigned:
            raise IllegalStateError(f"No current assignment for partition {tp}")
        self.seeks.append((tp, offset))
        self.positions[tp] = offset

    async def seek_inside(self, tp: TP, offset: int) -> None:
        self.seek(tp, offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        for tp, offset in partitions.items():
            self.positions[tp] = offset
        if self.during_seek is not None:
            await self.during_seek()

    async def seek_to_committed(self) -> dict[TP, int | None]:
        for tp in self.assigned:
            if self.committed.get(tp):  # aiokafka passes over 0 and None
                self.positions[tp] = self.committed[tp]
        return {tp: self.committed.get(tp) for tp in self.assigned}

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        self.commits.append(dict(offsets))
        self.committed.update(offsets)
        return True

    async def highwaters(self, *tps: TP) -> dict[TP, int | None]:
        return {tp: self.highwater(tp) for tp in tps}

    async def position(self, tp: TP) -> int | None:
        return self.positions.get(tp)

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return {tp: self.logs[tp][0].offset if self.logs.get(tp) else 0 for tp in tps}

    def assignment(self) -> set[TP]:
        return set(self.assigned)

    def highwater(self, tp: TP) -> int | None:
        if tp in self.ends:
            return self.ends[tp]
        return self.logs[tp][-1].offset + 1 if self.logs.get(tp) else 0


@dataclass
class Seen:
    """What the order guard told."""

    sought: list[str] = field(default_factory=list)
    repeats: list[tuple[str, int]] = field(default_factory=list)
    rewound: list[tuple[str, int]] = field(default_factory=list)

    def sought_back(self, topic: str) -> None:
        self.sought.append(topic)

    def filtered_repeats(self, topic: str, records: int) -> None:
        self.repeats.append((topic, records))

    def source_rewound(self, topic: str, records: int) -> None:
        self.rewound.append((topic, records))


class Delivery:
    """A consumer that is assigned, sought and resumed as Faust does after recovery."""

    def __init__(self, app: faust.App, *, max_records: int = 4) -> None:
        self.app = app
        self.broker = BrokerThread()
        self.seen = Seen()
        self.checked: list[dict[TP, int]] = []
        self.checked_changelogs: list[tuple[dict[TP, int], dict[TP, int]]] = []
        self.known_beginnings: dict[TP, int] = {}
        self.taken_over: dict[TP, int] = {}
        self.sought_changelogs: list[Mapping[TP, int]] = []
        #: How often positions were checked before.
        self.checked_recovered: list[int] = []
        self.check: Callable[[Mapping[TP, int]], Mapping[TP, int]] = dict
        settings = BundleSettings(
            frozenset({CLICK.topic, BROWSE.topic}),
            max_records,
            self._check_positions,
            self._take_over,
            self._check_changelogs,
            self.sought_changelogs.append,
            lambda: self.checked_recovered.append(len(self.checked)),
            self.seen,
        )
        broker = self.broker
        transport_type = bundle_transport(settings)
        stubbed = type(
            "Stubbed", (transport_type.Consumer,), {"_new_consumer_thread": lambda _consumer: broker}
        )
        transport = transport_type(app.conf.broker_consumer, app, loop=None)
        self.consumer: BundleConsumer = stubbed(
            transport,
            callback=_ignored,
            on_partitions_revoked=_ignored,
            on_partitions_assigned=_ignored,
        )

    async def _check_positions(self, positions: Mapping[TP, int]) -> Mapping[TP, int]:
        self.checked.append(dict(positions))
        return self.check(positions)

    async def _take_over(self, changelogs: Collection[TP]) -> Mapping[TP, int]:
        return {tp: end for tp, end in self.taken_over.items() if tp in changelogs}

    async def _check_changelogs(
        self, beginnings: Mapping[TP, int], ends: Mapping[TP, int]
    ) -> Mapping[TP, int]:
        self.checked_changelogs.append((dict(beginnings), dict(ends)))
        return self.known_beginnings

    def assign(self, *tps: TP) -> None:
        """What Faust does on an assignment: everything is paused until recovery is done."""
        self.broker.assigned |= set(tps)
        self.consumer._set_active_tps(self.broker.assigned)
        self.consumer.pause_partitions(self.broker.assigned)

    async def recovered(self) -> None:
        """What Faust does when recovery is done, in its order: resume, seek, end the rebalance."""
        self.consumer.resume_partitions(
            {tp for tp in self.consumer.assignment() if tp.topic != CHANGELOG.topic}
        )
        await self.consumer.perform_seek()
        self.consumer.rebalance_ended()

    async def started(self, *tps: TP) -> "Delivery":
        self.assign(*tps)
        await self.recovered()
        return self

    async def fetch(self) -> list[Any]:
        """The messages of one fetch."""
        return [message async for _, message in self.consumer.getmany(timeout=1.0)]

    async def offsets(self) -> list[list[int]]:
        """The offsets in each bundle of one fetch."""
        return [[one.offset for one in message.value] for message in await self.fetch()]

    def ack(self, *messages: Any) -> None:
        for message in messages:
            self.consumer.ack(message)


async def _ignored(*_: Any, **__: Any) -> None:
    """A callback of Faust's that does not matter here."""


NewDelivery = Callable[..., Delivery]


@pytest.fixture
async def new_delivery() -> NewDelivery:
    app = faust.App("interestflow", broker="kafka://127.0.0.1:1", web_enabled=False, autodiscover=False)
    app.consumer_generation_id = 1
    app.topics.acking_topics.update({CLICK.topic, BROWSE.topic, CHANGELOG.topic})

    def build(**options: Any) -> Delivery:
        return Delivery(app, **options)

    return build


@pytest.fixture
async def delivery(new_delivery: NewDelivery) -> Delivery:
    """Delivery of clicks 0 to 9, committed up to 2."""
    made = new_delivery()
    made.broker.write(CLICK, *range(10))
    made.broker.committed[CLICK] = 2
    return await made.started(CLICK)


# -- bundles -----------------------------------------------------------------------------------------------------


async def test_a_fetch_comes_as_runs_of_records_from_the_committed_offset(delivery: Delivery) -> None:
    assert await delivery.offsets() == [[2, 3, 4, 5], [6, 7, 8, 9]]


async def test_a_bundle_is_a_message_of_faust_with_the_offset_of_its_last_record(delivery: Delivery) -> None:
    first, _ = await delivery.fetch()

    assert (first.topic, first.partition, first.offset, first.tp) == (CLICK.topic, 0, 5, CLICK)
    assert (first.generation_id, first.key, first.headers) == (1, None, [])
    assert first.timestamp == 1_700_000_000.0
    assert [one.value for one in first.value] == [b"2", b"3", b"4", b"5"]


async def test_a_record_without_a_timestamp_is_of_time_zero(new_delivery: NewDelivery) -> None:
    made = await new_delivery().started(CLICK)
    made.broker.racing = [{CLICK: [record(CLICK, 0, timestamp=None)]}]

    assert [message.timestamp for message in await made.fetch()] == [0.0]


async def test_partitions_come_apart(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0, 1)
    made.broker.write(BROWSE, 0, 1, 2)
    await made.started(CLICK, BROWSE)

    assert {message.tp: message.offset for message in await made.fetch()} == {CLICK: 1, BROWSE: 2}


async def recovering(made: Delivery, *offsets: int) -> Delivery:
    """A changelog with these records, read back."""
    made.broker.write(CHANGELOG, *offsets)
    made.assign(CHANGELOG)
    await made.consumer.seek_wait({CHANGELOG: 0})
    made.consumer.resume_partitions({CHANGELOG})
    return made


async def test_records_of_a_changelog_come_as_bundles_whatever_was_compacted_away(
    new_delivery: NewDelivery,
) -> None:
    made = await recovering(new_delivery(max_records=3), 0, 1, 5, 9)

    bundles = [
        (message.offset, [one.offset for one in message.value], message.generation_id)
        for message in await made.fetch()
    ]

    assert bundles == [(5, [0, 1, 5], 1), (9, [9], 1)]


async def test_a_changelog_is_not_delivered_before_recovery_has_sought_it(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CHANGELOG, 0, 1)
    made.assign(CHANGELOG)
    made.consumer.resume_partitions({CHANGELOG})
    before = await made.offsets()
    await made.consumer.seek_wait({CHANGELOG: 0})
    sought = await made.offsets()
    await made.consumer.on_partitions_revoked({CHANGELOG})
    await recovering(made)
    made.consumer._sought_changelogs.clear()

    assert (before, sought, await made.offsets()) == ([], [[0, 1]], [])


async def test_the_rest_of_a_fetch_is_not_delivered_once_recovery_seeks(new_delivery: NewDelivery) -> None:
    made = await recovering(new_delivery(max_records=2), *range(6))
    delivered = []

    async for _, message in made.consumer.getmany(timeout=1.0):
        delivered.append(message.offset)
        await made.consumer.seek_wait({CHANGELOG: 0})

    assert (delivered, await made.offsets()) == ([1], [[0, 1], [2, 3], [4, 5]])


async def test_a_fetch_that_was_under_way_as_recovery_sought_is_fetched_again(
    new_delivery: NewDelivery,
) -> None:
    made = await recovering(new_delivery(), *range(6))
    during: list[list[int]] = []

    async def fetched_meanwhile() -> None:
        during.extend(await made.offsets())

    made.broker.during_seek = fetched_meanwhile
    await made.consumer.seek_wait({CHANGELOG: 2})

    assert (during, await made.offsets()) == ([], [[2, 3, 4, 5]])


async def test_what_recovery_sought_is_read_from_there_though_a_fetch_of_before_took_its_first_records(
    new_delivery: NewDelivery,
) -> None:
    """One that was begun before the rebalance and comes back before recovery lets the flow go on."""
    made = await recovering(new_delivery(max_records=3), *range(6))
    made.broker.during_fetch = made.consumer.stop_flow
    thrown_away = await made.offsets()
    made.broker.during_fetch = None
    made.consumer.resume_flow()

    assert (thrown_away, await made.offsets()) == ([], [[0, 1, 2], [3, 4, 5]])


async def test_what_was_revoked_while_it_was_fetched_is_not_sought(new_delivery: NewDelivery) -> None:
    made = await recovering(new_delivery(), *range(6))

    def revoked() -> None:
        made.consumer.stop_flow()
        made.broker.assigned.clear()

    made.broker.during_fetch = revoked

    assert await made.offsets() == []


@pytest.mark.parametrize(
    ("read", "position", "ends"), [((0, 1), 2, []), ((0, 1), 7, [6]), ((), 7, [6]), ((), 0, [])]
)
async def test_a_changelog_whose_last_records_were_compacted_away_is_read_to_its_end(
    new_delivery: NewDelivery, read: tuple[int, ...], position: int, ends: list[int]
) -> None:
    made = await recovering(new_delivery(), *read)
    if read:
        made.consumer._read_offset[CHANGELOG] = (await made.fetch())[-1].offset
    made.broker.positions[CHANGELOG] = position

    assert [(message.offset, message.value) for message in await made.fetch()] == [(end, []) for end in ends]


async def test_the_end_of_a_changelog_that_was_revoked_meanwhile_is_not_asked_for(
    new_delivery: NewDelivery,
) -> None:
    made = await recovering(new_delivery())

    async def revoked(tp: TP) -> int | None:
        raise IllegalStateError

    made.broker.position = revoked  # type: ignore[method-assign]

    assert await made.fetch() == []


async def test_the_end_of_a_changelog_is_void_once_the_generation_is_another(
    new_delivery: NewDelivery,
) -> None:
    made = await recovering(new_delivery())

    async def moved(tp: TP) -> int | None:
        made.app.consumer_generation_id = 2
        return 7

    made.broker.position = moved  # type: ignore[method-assign]

    assert await made.fetch() == []


async def test_the_log_end_is_told_to_fausts_monitor(delivery: Delivery) -> None:
    await delivery.fetch()

    assert delivery.app.monitor.tp_end_offsets[CLICK] == 10


@pytest.mark.parametrize("tp", [CLICK, CHANGELOG])
async def test_a_new_generation_ends_the_delivery_of_what_was_fetched(
    new_delivery: NewDelivery, tp: TP
) -> None:
    made = new_delivery(max_records=1)
    made.broker.write(tp, *range(3))
    made.broker.write(BROWSE, 0)
    await made.started(tp, BROWSE)
    await made.consumer.seek_wait({CHANGELOG: 0})
    made.consumer.resume_partitions({tp})

    delivered = []
    async for _, message in made.consumer.getmany(timeout=1.0):
        delivered.append(message.offset)
        made.app.consumer_generation_id = 2

    assert delivered == [0]


async def test_nothing_is_delivered_once_the_consumer_stops(delivery: Delivery) -> None:
    delivery.consumer._stopped.set()

    assert await delivery.fetch() == []


# -- rule 1: commit past the head run of acked bundles -------------------------------------------------------------


async def test_rule_1_a_commit_waits_for_the_first_bundle(delivery: Delivery) -> None:
    first, second = await delivery.fetch()

    delivery.ack(second)
    await delivery.consumer.commit()
    before = delivery.broker.committed[CLICK]
    delivery.ack(first)
    await delivery.consumer.commit()

    assert (before, delivery.broker.committed[CLICK]) == (2, 10)


async def test_rule_1_a_commit_goes_as_far_as_bundles_are_acked_in_order(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, *range(16))
    await made.started(CLICK)
    bundles = await made.fetch()

    for bundle in (bundles[0], bundles[1], bundles[3]):
        made.ack(bundle)
    await made.consumer.commit()
    committed = made.broker.committed[CLICK]
    made.ack(bundles[2])
    await made.consumer.commit()

    assert (committed, made.broker.committed[CLICK]) == (8, 16)
    assert (made.consumer._acked[CLICK], made.consumer._acked_index[CLICK]) == ([], set())


async def test_rule_1_a_bundle_below_the_committed_offset_is_not_waited_for(delivery: Delivery) -> None:
    first, second = await delivery.fetch()
    delivery.consumer._committed_offset[CLICK] = 8  # by another way; Faust takes no acks below it

    delivery.ack(first, second)
    await delivery.consumer.commit()

    assert delivery.broker.committed[CLICK] == 10


async def test_rule_1_holes_of_a_compacted_log_hold_no_commit_back(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 5, 9, 20, 21, 22, 40)
    await made.started(CLICK)

    made.ack(*await made.fetch())
    await made.consumer.commit()

    assert made.broker.committed[CLICK] == 41


async def test_rule_1_nothing_new_is_nothing_to_commit(delivery: Delivery) -> None:
    delivery.ack(*await delivery.fetch())
    await delivery.consumer.commit()
    await delivery.consumer.commit()

    assert delivery.broker.commits == [{CLICK: 10}]


async def test_rule_1_bundles_leave_no_gaps_for_faust_to_fill(delivery: Delivery) -> None:
    await delivery.consumer._add_gap(CLICK, 2, 4)
    await delivery.consumer._add_gap(CHANGELOG, 2, 4)

    assert not delivery.consumer._gap[CLICK]
    assert len(delivery.consumer._gap[CHANGELOG]) == 1


async def test_rule_1_other_topics_are_committed_as_faust_does(delivery: Delivery) -> None:
    delivery.consumer._acked[CHANGELOG] = [0, 1, 2]

    assert delivery.consumer._new_offset(CHANGELOG) == 3


# -- rule 2: nothing fetched is dropped without seeking back -------------------------------------------------------


async def test_rule_2_records_of_a_partition_paused_meanwhile_come_later(delivery: Delivery) -> None:
    delivery.broker.during_fetch = lambda: delivery.consumer.pause_partitions({CLICK})
    dropped = await delivery.offsets()
    delivery.broker.during_fetch = None
    delivery.consumer.resume_partitions({CLICK})

    assert (dropped, await delivery.offsets()) == ([], [[2, 3, 4, 5], [6, 7, 8, 9]])


async def test_rule_2_records_of_a_partition_that_went_away_do_not_end_the_fetcher(
    delivery: Delivery,
) -> None:
    delivery.broker.racing = [{BROWSE: [record(BROWSE, 3)], CLICK: [record(CLICK, 2)]}]

    assert await delivery.offsets() == [[2]]
    assert delivery.broker.seeks == []


async def test_rule_2_a_partition_whose_buffer_is_full_still_gets_what_was_fetched(
    delivery: Delivery,
) -> None:
    delivery.broker.during_fetch = lambda: delivery.consumer.on_buffer_full(CLICK)

    assert await delivery.offsets() == [[2, 3, 4, 5], [6, 7, 8, 9]]


async def test_rule_2_a_changelog_paused_meanwhile_is_left_where_it_is(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CHANGELOG, 0, 1)
    made.assign(CHANGELOG)
    made.consumer.resume_partitions({CHANGELOG})
    made.broker.during_fetch = lambda: made.consumer.pause_partitions({CHANGELOG})

    assert (await made.fetch(), made.broker.seeks) == ([], [])


async def test_rule_2_what_was_fetched_while_the_flow_stopped_is_sought_again(delivery: Delivery) -> None:
    delivery.broker.during_fetch = delivery.consumer.stop_flow
    dropped = await delivery.offsets()
    delivery.broker.during_fetch = None
    delivery.consumer.resume_flow()

    assert (dropped, await delivery.offsets()) == ([], [[2, 3, 4, 5], [6, 7, 8, 9]])


async def test_rule_2_a_seek_that_fails_while_the_flow_stopped_waits_for_the_one_after_recovery(
    delivery: Delivery,
) -> None:
    def refuse(_: Mapping[TP, int]) -> Mapping[TP, int]:
        raise SourceRewoundError(CLICK.topic, 0, 1, 2)

    delivery.broker.during_fetch = delivery.consumer.stop_flow
    delivery.check = refuse

    assert await delivery.fetch() == []


# -- rule 3: no holes ----------------------------------------------------------------------------------------------


async def test_rule_3_a_jump_forward_is_sought_back_and_nothing_is_missed(delivery: Delivery) -> None:
    delivery.broker.racing = [{CLICK: [record(CLICK, 6), record(CLICK, 7)]}]
    delivery.broker.positions[CLICK] = 8

    assert await delivery.offsets() == []
    assert (delivery.broker.seeks, delivery.seen.sought) == ([(CLICK, 2)], [CLICK.topic])
    assert await delivery.offsets() == [[2, 3, 4, 5], [6, 7, 8, 9]]


async def test_rule_3_what_is_missing_after_seeking_back_is_missing_in_the_log(
    new_delivery: NewDelivery,
) -> None:
    made = new_delivery()
    made.broker.committed[CLICK] = 2
    made.broker.write(CLICK, 7, 8)  # 2 to 6 are deleted by now
    await made.started(CLICK)

    assert [await made.offsets(), await made.offsets()] == [[], [[7, 8]]]
    assert made.seen.sought == [CLICK.topic]


async def test_rule_3_each_hole_is_sought_back_once(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0, 1)
    await made.started(CLICK)
    await made.fetch()
    made.broker.write(CLICK, 5, 6)
    first = [await made.offsets(), await made.offsets()]
    made.broker.write(CLICK, 9)
    second = [await made.offsets(), await made.offsets()]

    assert (first, second) == ([[], [[5, 6]]], [[], [[9]]])
    assert len(made.seen.sought) == 2


async def test_rule_3_records_that_were_delivered_are_filtered_and_counted(delivery: Delivery) -> None:
    await delivery.fetch()
    delivery.broker.write(CLICK, 10, 11)
    delivery.broker.positions[CLICK] = 7

    assert await delivery.offsets() == [[10, 11]]
    delivery.broker.positions[CLICK] = 4
    assert await delivery.offsets() == []
    assert (delivery.seen.repeats, delivery.seen.rewound) == ([(CLICK.topic, 3), (CLICK.topic, 8)], [])


@pytest.mark.parametrize(("end", "told"), [(3, "rewound"), (12, "repeats"), (None, "repeats")])
async def test_rule_3_a_log_that_went_back_is_told_apart_from_repeats(
    delivery: Delivery, end: int | None, told: str
) -> None:
    await delivery.fetch()
    delivery.broker.ends[CLICK] = end
    delivery.broker.racing = [{CLICK: [record(CLICK, offset) for offset in range(3)]}]

    assert await delivery.offsets() == []
    assert getattr(delivery.seen, told) == [(CLICK.topic, 3)]
    assert len(delivery.seen.repeats) + len(delivery.seen.rewound) == 1


# -- rule 4: seek and revocation reset it all ----------------------------------------------------------------------


async def test_rule_4_after_a_seek_bundles_that_were_not_acked_are_not_waited_for(delivery: Delivery) -> None:
    await delivery.fetch()
    delivery.broker.write(CLICK, 10)

    await delivery.consumer.perform_seek()
    again = await delivery.fetch()
    delivery.ack(*again)
    await delivery.consumer.commit()

    assert [message.offset for message in again] == [5, 9, 10]
    assert delivery.broker.committed[CLICK] == 11


async def test_rule_4_after_a_seek_other_bundles_are_waited_for(delivery: Delivery) -> None:
    """Those from before, which ended elsewhere, would never be acked and hold the commit back for ever."""
    delivery.broker.racing = [{CLICK: [record(CLICK, 2), record(CLICK, 3), record(CLICK, 4)]}]
    await delivery.fetch()
    delivery.consumer._committed_offset[CLICK] = None

    await delivery.consumer.perform_seek()
    delivery.ack(*await delivery.fetch())
    await delivery.consumer.commit()

    assert delivery.broker.committed[CLICK] == 10


async def test_rule_4_after_a_seek_records_are_delivered_again_and_not_filtered(delivery: Delivery) -> None:
    first = await delivery.offsets()

    await delivery.consumer.perform_seek()

    assert await delivery.offsets() == first
    assert delivery.seen.repeats == []


async def test_rule_4_after_a_seek_a_jump_is_sought_back_anew(delivery: Delivery) -> None:
    for _ in range(2):
        delivery.broker.racing = [{CLICK: [record(CLICK, 6)]}]
        assert await delivery.offsets() == []
        await delivery.consumer.perform_seek()

    assert delivery.seen.sought == [CLICK.topic] * 2


async def test_rule_4_a_revoked_partition_is_forgotten(delivery: Delivery) -> None:
    bundles = await delivery.fetch()
    delivery.broker.racing = [{CLICK: [record(CLICK, 12)]}]
    await delivery.fetch()

    await delivery.consumer.on_partitions_revoked({CLICK})
    delivery.ack(*bundles)

    assert delivery.consumer._new_offset(CLICK) is None
    assert (dict(delivery.consumer._expected), delivery.consumer._sought_back_at) == ({}, {})


async def test_rule_4_what_stays_is_not_forgotten_with_what_goes(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0, 1)
    made.broker.write(BROWSE, 0, 1)
    await made.started(CLICK, BROWSE)
    bundles = {message.tp: message for message in await made.fetch()}

    await made.consumer.on_partitions_revoked({CLICK})
    made.ack(bundles[BROWSE])

    assert made.consumer._new_offset(BROWSE) == 2


# -- rule 5: a partition with nothing committed --------------------------------------------------------------------


async def test_rule_5_it_is_sought_to_its_beginning_and_gets_a_first_commit(
    new_delivery: NewDelivery,
) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 3, 4, 5)  # 0 to 2 are deleted by now
    made.broker.positions[CLICK] = 5  # wherever the fetcher stood

    await made.started(CLICK)

    assert (made.broker.seeks, made.broker.commits) == ([(CLICK, 3)], [{CLICK: 3}])
    assert made.consumer._committed_offset[CLICK] == 3
    assert await made.offsets() == [[3, 4, 5]]


async def test_rule_5_its_first_records_are_expected(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0, 1, 2)
    await made.started(CLICK)
    made.broker.racing = [{CLICK: [record(CLICK, 2)]}]

    assert [await made.offsets(), await made.offsets()] == [[], [[0, 1, 2]]]


async def test_rule_5_bundles_of_it_are_committed(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0, 1, 2)
    await made.started(CLICK)

    made.ack(*await made.fetch())
    await made.consumer.commit()

    assert made.broker.commits == [{CLICK: 0}, {CLICK: 3}]


async def test_rule_5_an_offset_of_zero_is_committed_already(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0, 1)
    made.broker.committed[CLICK] = 0
    made.broker.positions[CLICK] = 1  # aiokafka does not seek to 0

    await made.started(CLICK)

    assert made.broker.commits == []
    assert [*await made.offsets(), *await made.offsets()] == [[0, 1]]


async def test_rule_5_an_offset_of_zero_is_sought_also_where_a_fetch_went_past_it_in_the_rebalance(
    new_delivery: NewDelivery,
) -> None:
    made = new_delivery()
    made.broker.write(CLICK, *range(3))
    made.broker.committed[CLICK] = 0
    made.broker.positions[CLICK] = 3

    await made.started(CLICK)

    assert await made.offsets() == [[0, 1, 2]]


# -- the guard: inputs are resumed once they are sought and the rebalance is over -----------------------------------


async def test_guard_inputs_are_not_fetched_between_resume_and_seek(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, *range(10))
    made.broker.committed[CLICK] = 7
    made.assign(CLICK)

    made.consumer.resume_partitions({CLICK})
    between = set(made.consumer._active_partitions)
    await made.consumer.perform_seek()
    made.consumer.rebalance_ended()

    assert (between, made.consumer._active_partitions) == (set(), {CLICK})
    assert await made.offsets() == [[7, 8, 9]]


async def test_guard_inputs_are_not_fetched_between_seek_and_end_of_the_rebalance(
    new_delivery: NewDelivery,
) -> None:
    made = new_delivery()
    made.broker.write(CLICK, *range(10))
    made.assign(CLICK)

    made.consumer.resume_partitions({CLICK})
    await made.consumer.perform_seek()

    # A bundle delivered now would be abandoned as one of a rebalance, and no seek would bring it back.
    assert await made.offsets() == []


async def test_guard_a_rebalance_that_ends_without_a_seek_resumes_nothing(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0)
    made.assign(CLICK)

    made.consumer.resume_partitions({CLICK})
    made.consumer.rebalance_ended()

    assert made.consumer._active_partitions == set()


async def test_guard_changelogs_are_resumed_at_once(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.assign(CLICK, CHANGELOG)

    made.consumer.resume_partitions([CLICK, CHANGELOG])

    assert made.consumer._active_partitions == {CHANGELOG}


async def test_guard_a_seek_that_comes_before_recovery_is_done_resumes_nothing(
    new_delivery: NewDelivery,
) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0)
    made.assign(CLICK)

    await made.consumer.perform_seek()
    early = set(made.consumer._active_partitions)
    made.consumer.resume_partitions({CLICK})
    still_early = set(made.consumer._active_partitions)
    await made.consumer.perform_seek()
    made.consumer.rebalance_ended()

    assert (early, still_early, made.consumer._active_partitions) == (set(), set(), {CLICK})


async def test_guard_a_seek_that_fails_resumes_nothing(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, 0)
    made.assign(CLICK)

    def refuse(_: Mapping[TP, int]) -> Mapping[TP, int]:
        raise SourceRewoundError(CLICK.topic, 0, 1, 2)

    made.check = refuse

    with pytest.raises(SourceRewoundError):
        await made.recovered()
    assert made.consumer._active_partitions == set()


async def test_guard_the_next_rebalance_holds_inputs_again(delivery: Delivery) -> None:
    await delivery.consumer.on_partitions_revoked({CLICK})
    delivery.assign(CLICK)
    delivery.consumer.resume_partitions({CLICK})

    assert delivery.consumer._active_partitions == set()


async def test_guard_what_is_resumed_after_the_seek_is_resumed_at_once(delivery: Delivery) -> None:
    delivery.consumer.pause_partitions({CLICK})
    delivery.consumer.resume_partitions({CLICK})

    assert delivery.consumer._active_partitions == {CLICK}


# -- positions are checked -----------------------------------------------------------------------------------------


async def test_positions_are_checked_before_anything_is_delivered(new_delivery: NewDelivery) -> None:
    made = new_delivery()
    made.broker.write(CLICK, *range(10))
    made.broker.write(BROWSE, 4, 5)
    made.broker.committed[CLICK] = 7

    await made.started(CLICK, BROWSE, CHANGELOG)

    assert made.checked == [{CLICK: 7, BROWSE: 4}]


async def test_delivery_starts_where_the_check_says(delivery: Delivery) -> None:
    delivery.check = lambda positions: dict.fromkeys(positions, 0)

    await delivery.consumer.perform_seek()

    assert delivery.broker.seeks == [(CLICK, 0)]
    assert await delivery.offsets() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert delivery.seen.sought == []


async def test_a_start_below_the_committed_offset_is_committed_so_that_commits_go_on_from_there(
    delivery: Delivery,
) -> None:
    delivery.check = lambda positions: dict.fromkeys(positions, 0)

    await delivery.consumer.perform_seek()
    delivery.ack(*await delivery.fetch())
    await delivery.consumer.commit()

    assert delivery.broker.commits == [{CLICK: 0}, {CLICK: 10}]


async def test_changelogs_are_checked_before_tables_are_recovered_from_them(delivery: Delivery) -> None:
    delivery.broker.write(CHANGELOG, 40, 41, 42)

    ends = await delivery.consumer.highwaters(CHANGELOG)
    await delivery.consumer.highwaters(CLICK)

    assert ends == {CHANGELOG: 43}
    assert delivery.checked_changelogs == [({CHANGELOG: 40}, {CHANGELOG: 43})]


async def test_changelogs_are_recovered_up_to_where_their_last_owners_were_shut_out(
    delivery: Delivery,
) -> None:
    delivery.broker.write(CHANGELOG, 40, 41, 42)
    delivery.taken_over = {CHANGELOG: 42}

    ends = await delivery.consumer.highwaters(CHANGELOG)

    assert ends == {CHANGELOG: 42}
    assert delivery.checked_changelogs == [({CHANGELOG: 40}, {CHANGELOG: 43})]


async def test_beginnings_before_which_nothing_was_are_committed(delivery: Delivery) -> None:
    delivery.broker.write(CHANGELOG, 40, 41, 42)
    delivery.known_beginnings = {CHANGELOG: 40}

    await delivery.consumer.highwaters(CHANGELOG)

    assert delivery.broker.committed[CHANGELOG] == 40


async def test_a_partition_is_read_to_its_end_only_once_its_bundles_are_committed(delivery: Delivery) -> None:
    async def is_read() -> bool:
        return await delivery.consumer.is_read_to(CLICK, 10)

    before = await is_read()
    async for _, message in delivery.consumer.getmany(1.0):
        delivery.ack(message)
    delivered = await is_read()
    await delivery.consumer.commit()

    assert (before, delivered, await is_read()) == (False, False, True)


async def test_inputs_are_sought_only_once_the_stores_are_known_to_be_complete(delivery: Delivery) -> None:
    await delivery.consumer.on_partitions_revoked({CLICK, BROWSE})
    delivery.checked_recovered.clear()
    delivery.checked.clear()

    await delivery.consumer.perform_seek()  # of a fetch while the flow is stopped
    await delivery.recovered()
    await delivery.consumer.seek_wait({CHANGELOG: 7})

    assert delivery.checked_recovered == [1]
    assert delivery.sought_changelogs == [{CHANGELOG: 7}]


async def test_an_assignment_holds_inputs_anew_whatever_recovery_of_the_one_before_did_meanwhile(
    delivery: Delivery,
) -> None:
    consumer = delivery.consumer
    await consumer.on_partitions_revoked({CLICK, BROWSE})
    await delivery.recovered()  # of the assignment before, late

    await consumer.on_partitions_assigned({CLICK, BROWSE}, 2)
    consumer.resume_partitions({CLICK})

    assert consumer._held == {CLICK}
    assert not consumer._released


# -- as a whole ----------------------------------------------------------------------------------------------------


async def test_fausts_own_loop_delivers_every_record_once_and_in_order(delivery: Delivery) -> None:
    fetcher = Service()
    delivered: list[int] = []

    async def take(message: Any) -> None:
        delivered.extend(one.offset for one in message.value)
        delivery.ack(message)
        if message.offset == 9:
            delivery.broker.write(CLICK, *range(10, 13))
        elif message.offset == 12:
            fetcher._stopped.set()

    delivery.consumer.callback = take
    await delivery.consumer._drain_messages(fetcher)
    await delivery.consumer.commit()

    assert (delivered, delivery.broker.committed[CLICK]) == (list(range(2, 13)), 13)
