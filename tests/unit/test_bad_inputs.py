"""Each bad input through FOLD as the worker runs it: one outcome, one count, and the stream goes on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.clock import StreamTime
from stream.dead_letter import REASON_HEADER, REDACTED_HEADER
from stream.dead_letter_limit import LimitRules
from stream.due import DueUsers
from stream.errors import DeadLetterLimitError
from stream.events import (
    AD_TOPIC,
    BROWSE_TOPIC,
    CLICK_TOPIC,
    CONTROL_TOPIC,
    DEAD_LETTER_TOPIC,
    EVENT_TYPES,
    PURCHASE_TOPIC,
    TEXTS_TOPIC,
)
from stream.ingest import Folder, FoldParts, FoldRules
from stream.metrics import Metrics
from stream.pacing import ScorePace
from stream.partitioner import partitioner
from stream.privacy import PrivacyRules
from stream.received import SENT_HEADER
from stream.reproducing import HOP_HEADER
from stream.sender import OutRecord, SendAbandonedError, SendFailedError
from stream.state import UserState, decode_state, encode_state
from stream.stores.memory import MemoryStore
from stream.sweep import EvictionRules
from stream.texts import TextCatalog
from stream.window import WindowPolicy
from tests.bad_inputs import (
    COMPOSED,
    DECOMPOSED,
    MENDED,
    NAMES_A_PERSON,
    REJECTED,
    UNCHANGING,
    BadInput,
)
from tests.builders import (
    NOW_MS,
    TEA,
    USER,
    FakeSender,
    FrozenClock,
    Record,
    counted,
    days,
    event_fields,
    event_value,
    item,
    never,
)

CHANGELOG = "interestflow-user-behaviour-changelog"
PARTITIONS = 4
PARTITION_OF = partitioner("murmur2", PARTITIONS)
LIMIT = LimitRules()
KEY = USER.encode()
HOME = PARTITION_OF(KEY)
AWAY = (HOME + 1) % PARTITIONS


class Fold(NamedTuple):
    """A folder with all that it works with."""

    folder: Folder
    store: MemoryStore
    sender: FakeSender
    due: DueUsers
    metrics: Metrics
    time: StreamTime
    clock: FrozenClock

    async def fold(self, *records: Record) -> None:
        await self.folder.fold(records[0].topic, records[0].partition, records, never)

    def outcomes(self) -> dict[tuple[str, str], float]:
        return {(outcome, reason): count for (_, outcome, reason), count in counted(self.metrics).items()}

    def state(self, user: bytes = KEY, partition: int = HOME) -> UserState | None:
        data = self.store.get(partition, user)
        return None if data is None else decode_state(data)

    def due_users(self) -> list[tuple[int, bytes]]:
        return [(user.partition, user.key) for user in self.due.take(100, 2000.0)]


def folder(
    *,
    live_users: int = 100,
    virtual_time: bool = False,
    eviction: EvictionRules | None = None,
    limit: LimitRules = LIMIT,
    campaigns: Sequence[str] | None = None,
    privacy: PrivacyRules | None = None,
) -> Fold:
    store, sender, due, metrics, clock = MemoryStore(), FakeSender(), DueUsers(0.0), Metrics(), FrozenClock()
    time = StreamTime(clock, virtual=virtual_time)
    rules = FoldRules(
        policy=WindowPolicy(),
        partition_of=PARTITION_OF,
        source_epoch=0,
        changelog_topic=CHANGELOG,
        live_users=live_users,
        app_version="1.2.3",
        virtual_time=virtual_time,
        limit=limit,
        eviction=eviction or EvictionRules(),
        privacy=privacy or PrivacyRules(),
    )
    parts = FoldParts(
        store, sender, due, ScorePace(0.3), TextCatalog(PARTITIONS), time, clock, metrics,
        lambda cid: campaigns is None or cid in campaigns,
    )  # fmt: skip
    return Fold(Folder(parts, rules), store, sender, due, metrics, time, clock)


def record(offset: int = 0, value: bytes | None = None, **changes: Any) -> Record:
    """A record of ``USER`` on his partition; without a value a good click."""
    place = {"topic": CLICK_TOPIC, "partition": HOME, "offset": offset, **changes}
    return Record(value=event_value() if value is None else value, **place)


def headers(letter: OutRecord) -> dict[str, bytes]:
    return dict(letter.headers)


def rows(inputs: Sequence[BadInput]) -> pytest.MarkDecorator:
    """One test for each."""
    return pytest.mark.parametrize(
        "bad",
        inputs,
        ids=[f"row {bad.row}: {bad.reason or bad.outcome} {number}" for number, bad in enumerate(inputs)],
    )


@rows(REJECTED)
async def test_a_record_that_cannot_be_used_becomes_a_dead_letter(bad: BadInput) -> None:
    fold = folder()

    await fold.fold(record(5, bad.value), record(6))

    assert fold.outcomes() == {("rejected", bad.reason): 1, ("accepted", ""): 1}
    (letter,) = fold.sender.records(DEAD_LETTER_TOPIC)
    assert (letter.key, headers(letter)[REASON_HEADER]) == (KEY, bad.reason.encode())
    assert headers(letter)["__streams.errors.offset"] == b"5"
    assert letter.value == (bad.value if len(bad.value) <= 65_536 else bad.value[:1024])
    assert fold.metrics.dead_letters.labels(CLICK_TOPIC, bad.reason)._value.get() == 1


@rows(MENDED)
async def test_a_record_that_can_be_mended_is_used(bad: BadInput) -> None:
    fold = folder()

    await fold.fold(record(5, bad.value))

    assert fold.outcomes() == {(bad.outcome, bad.reason): 1}
    state = fold.state()
    assert state is not None
    assert (state.revision, len(state.window), state.window.occurred[0] <= NOW_MS) == (1, 1, True)
    assert fold.sender.records(DEAD_LETTER_TOPIC) == []
    assert fold.due_users() == [(HOME, KEY)]
    assert fold.metrics.reserved_fields.labels(CLICK_TOPIC)._value.get() == (bad.reason == "reserved_field")


@rows(UNCHANGING)
async def test_a_record_that_comes_too_late_or_twice_changes_nothing(bad: BadInput) -> None:
    fold = folder()
    await fold.fold(record(0))
    before = fold.store.get(HOME, KEY)
    fold.due.clear()

    await fold.fold(record(1, bad.value))

    assert fold.outcomes() == {("accepted", ""): 1, (bad.outcome, bad.reason): 1}
    assert fold.store.get(HOME, KEY) == before
    assert fold.due_users() == []


async def test_row_2_a_null_value_on_an_event_topic_is_passed_over() -> None:
    fold = folder()

    await fold.fold(Record(partition=HOME))

    assert fold.outcomes() == {("ignored", "tombstone"): 1}
    assert fold.store.partitions() == set()


@pytest.mark.parametrize("value", [None, b'{"action":"erase","user_id":"u1"}'])
async def test_row_2_a_null_value_or_a_statement_on_the_control_topic_erases_the_user(
    value: bytes | None,
) -> None:
    fold = folder()
    await fold.fold(record(0))

    await fold.fold(Record(topic=CONTROL_TOPIC, partition=HOME, value=value), Record(CONTROL_TOPIC, HOME, 0))

    assert counted(fold.metrics) == {
        (CLICK_TOPIC, "accepted", ""): 1, (CONTROL_TOPIC, "accepted", ""): 1, (CONTROL_TOPIC, "replayed", ""): 1,
    }  # fmt: skip
    state = fold.state()
    assert state is not None
    assert (state.erased_at_ms, len(state.window), state.revision) == (NOW_MS, 0, 2)
    await fold.fold(record(1, event_value(event_id="e2")))
    assert counted(fold.metrics)[CLICK_TOPIC, "erased", ""] == 1


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (KEY, b"", "empty"),
        (None, None, "user_id"),
        (b"", None, "user_id"),
        (b"  ", None, "user_id"),
        (b"\xff", None, "utf8"),
        (b"u" * 257, None, "field_long"),
        (KEY, b'{"action":"promote","user_id":"u1"}', "control_action"),
        (KEY, b'{"action":"erase","user_id":"u2"}', "key_mismatch"),
        (KEY, b'{"action":"erase","user_id":" "}', "user_id"),
    ],
)
async def test_nobody_is_erased_by_a_control_record_that_does_not_say_so(
    key: bytes | None, value: bytes | None, reason: str
) -> None:
    fold = folder()
    await fold.fold(record(0))
    before = fold.store.get(HOME, KEY)

    await fold.fold(Record(CONTROL_TOPIC, HOME, 0, key=key, value=value))

    assert counted(fold.metrics)[CONTROL_TOPIC, "rejected", reason] == 1
    assert fold.store.get(HOME, KEY) == before


@pytest.mark.parametrize("partition", [HOME, AWAY])
async def test_row_3_a_null_key_is_produced_once_more_with_the_user_as_key(partition: int) -> None:
    fold = folder()
    sent = record(0, key=None, partition=partition, headers=[("trace", b"7")])

    await fold.fold(sent)

    assert fold.outcomes() == {("reproduced", "null_key"): 1}
    assert dict(fold.sender.logs) == {
        (CLICK_TOPIC, HOME): [OutRecord(KEY, sent.value, (("trace", b"7"), (HOP_HEADER, b"1")), NOW_MS)]
    } | {(topic, partition): [] for topic, partition in fold.sender.logs if topic != CLICK_TOPIC}
    assert fold.store.partitions() == set()


async def test_row_3_a_control_record_without_key_is_produced_once_more_too() -> None:
    fold = folder()

    await fold.fold(Record(CONTROL_TOPIC, AWAY, key=None, value=b'{"action":"erase","user_id":"u1"}'))

    assert fold.outcomes() == {("reproduced", "null_key"): 1}
    assert [one.key for one in fold.sender.logs[CONTROL_TOPIC, HOME]] == [KEY]


@pytest.mark.parametrize("already_known", [False, True])
async def test_row_69_a_record_on_the_wrong_partition_is_produced_once_more_then_rejected(
    *, already_known: bool
) -> None:
    fold = folder()
    if already_known:
        await fold.fold(record(0, event_value(event_id="e0"), topic=BROWSE_TOPIC))

    await fold.fold(record(3, partition=AWAY))

    (moved,) = fold.sender.logs[CLICK_TOPIC, HOME]
    assert (moved.key, moved.headers) == (KEY, ((HOP_HEADER, b"1"),))
    assert counted(fold.metrics)[CLICK_TOPIC, "reproduced", "repartitioned"] == 1
    assert fold.state(partition=AWAY) is None

    await fold.fold(record(4, partition=AWAY, headers=moved.headers))

    assert counted(fold.metrics)[CLICK_TOPIC, "rejected", "wrong_partition"] == 1
    (letter,) = fold.sender.records(DEAD_LETTER_TOPIC)
    assert f"partition {AWAY} instead of {HOME}" in headers(letter)["__streams.errors.message"].decode()
    assert fold.state(partition=AWAY) is None


async def test_what_was_produced_once_more_is_used_where_it_belongs() -> None:
    fold = folder()
    await fold.fold(record(3, partition=AWAY))
    (moved,) = fold.sender.logs[CLICK_TOPIC, HOME]

    await fold.fold(record(9, moved.value, key=moved.key, headers=moved.headers))

    assert fold.outcomes() == {("reproduced", "repartitioned"): 1, ("accepted", ""): 1}


@pytest.mark.parametrize("user", NAMES_A_PERSON)
@pytest.mark.parametrize("has_key", [True, False])
async def test_row_28_an_id_that_names_a_person_is_rejected_and_written_nowhere(
    user: str, *, has_key: bool
) -> None:
    fold = folder()

    await fold.fold(record(0, event_value(user_id=user), key=user.encode() if has_key else None))

    assert fold.outcomes() == {("rejected", "pii_in_id"): 1}
    (letter,) = fold.sender.records(DEAD_LETTER_TOPIC)
    assert (letter.key, letter.value) == (None, None)
    assert headers(letter)[REDACTED_HEADER] == b"key,value"
    assert user.encode() not in b"".join(headers(letter).values())
    assert fold.store.partitions() == set()


async def test_row_28_whatever_else_is_wrong_with_the_record_of_such_a_key_it_is_redacted() -> None:
    fold = folder()

    await fold.fold(record(0, event_value(user_id="jane@example.com", session_id=7), key=b"jane@example.com"))

    assert fold.outcomes() == {("rejected", "type"): 1}
    (letter,) = fold.sender.records(DEAD_LETTER_TOPIC)
    assert (letter.key, letter.value) == (None, None)
    assert headers(letter)["__streams.errors.message"] == b"type"
    assert headers(letter)["__streams.errors.stacktrace"] == b""


async def test_row_31_two_spellings_of_one_id_are_one_user_on_the_partition_of_the_composed_one() -> None:
    fold = folder()
    composed, decomposed = COMPOSED.encode(), DECOMPOSED.encode()
    home = PARTITION_OF(composed)
    value = event_value(user_id=DECOMPOSED)

    await fold.fold(record(0, event_value(user_id=COMPOSED, event_id="e0"), key=composed, partition=home))
    await fold.fold(record(1, value, key=decomposed, partition=home))

    assert fold.outcomes() == {("accepted", ""): 1, ("normalised", "nfc_id"): 1}
    state = fold.state(composed, home)
    assert state is not None
    assert (state.revision, fold.store.count(home)) == (2, 1)

    await fold.fold(record(0, value, key=decomposed, partition=(home + 1) % PARTITIONS))

    (moved,) = fold.sender.logs[CLICK_TOPIC, home]
    assert (moved.key, moved.value) == (composed, value)
    assert fold.outcomes()["reproduced", "repartitioned"] == 1


@pytest.mark.parametrize("value", [None, b'{"action":"erase","user_id":"%s"}' % DECOMPOSED.encode()])
async def test_row_31_either_spelling_erases_the_user(value: bytes | None) -> None:
    fold = folder()
    composed = COMPOSED.encode()
    home = PARTITION_OF(composed)
    await fold.fold(record(0, event_value(user_id=COMPOSED), key=composed, partition=home))

    await fold.fold(Record(CONTROL_TOPIC, home, key=DECOMPOSED.encode(), value=value))

    state = fold.state(composed, home)
    assert state is not None
    assert state.erased_at_ms == NOW_MS


async def test_row_32_what_has_no_step_before_it_is_taken_and_counted() -> None:
    fold = folder()

    await fold.fold(
        record(0, event_value(event_id="e0", event_type="purchase")),
        record(1, event_value(event_id="e1", event_type="ad_click", ad={"cid": "never-shown"})),
        record(2, event_value(event_id="e2", event_type="view_item")),
        record(3, event_value(event_id="e3", event_type="purchase", items=[{**TEA, "price": 1}])),
    )

    assert fold.outcomes() == {("normalised", "no_price"): 1, ("accepted", ""): 3}
    loose = [
        fold.metrics.unattributed.labels(CLICK_TOPIC, step)._value.get()
        for step in ("purchase_without_view", "click_without_impression")
    ]
    assert loose == [1, 1]


async def test_row_33_an_ad_event_of_an_unknown_campaign_is_taken_and_says_so() -> None:
    fold = folder(campaigns=["c1"])
    ads = [event_value(event_id=cid, event_type="ad_impression", ad={"cid": cid}) for cid in ("c1", "c2")]

    await fold.fold(*(record(offset, value, topic=AD_TOPIC) for offset, value in enumerate(ads)))

    assert fold.outcomes() == {("accepted", ""): 1, ("normalised", "unknown_campaign"): 1}
    state = fold.state()
    assert state is not None
    assert state.exposures.impressions == 2  # the campaign may come after its first event


async def test_row_58_of_a_flood_of_one_user_the_rest_is_throttled_and_a_replay_says_the_same() -> None:
    fold, again = folder(), folder()
    flood = [record(offset, event_value(event_id=f"e{offset}")) for offset in range(1500)]
    later = record(
        1500, event_value(event_id="later", occurred_at_ms=NOW_MS + 60_000), timestamp=NOW_MS + 60_000
    )

    await fold.fold(*flood)

    assert fold.outcomes() == {("accepted", ""): 1024, ("throttled", ""): 476}
    state = fold.state()
    assert state is not None
    assert (state.revision, state.orders.first_seen) == (1024, (NOW_MS - 1000) // 1000)

    await fold.fold(later)
    for one in [*flood, later]:
        await again.fold(one)

    assert fold.outcomes()["accepted", ""] == 1025
    assert again.outcomes() == fold.outcomes()
    assert again.store.get(HOME, KEY) == fold.store.get(HOME, KEY)


async def test_row_60_of_a_busy_user_the_window_holds_the_last_and_nobody_else_is_held_up() -> None:
    fold = folder()
    others = [user for user in (f"o{number}" for number in range(999)) if PARTITION_OF(user.encode()) == HOME]
    busy = [record(offset, event_value(event_id=f"e{offset}")) for offset in range(60)]
    rest = [
        record(60 + number, event_value(user_id=user), key=user.encode())
        for number, user in enumerate(others[:140])
    ]

    await fold.fold(
        *busy, *rest, *(record(200 + one.offset, event_value(event_id=f"f{one.offset}")) for one in busy)
    )

    assert fold.outcomes() == {("accepted", ""): 260}
    state = fold.state()
    assert state is not None
    assert (len(state.window), fold.store.count(HOME)) == (64, 141)


async def test_row_61_beyond_the_cap_who_was_quiet_longest_is_forgotten_and_starts_anew_when_he_comes_back() -> (
    None
):
    fold = folder(eviction=EvictionRules(max_users=100))
    users = [user for user in (f"c{number}" for number in range(999)) if PARTITION_OF(user.encode()) == HOME][
        :101
    ]
    crowd = [
        record(offset, event_value(user_id=user), key=user.encode(), timestamp=NOW_MS + offset)
        for offset, user in enumerate(users)
    ]
    first = users[0].encode()

    await fold.fold(*crowd)

    assert fold.store.count(HOME) == 95
    assert fold.metrics.evicted.labels("crowded")._value.get() == 6
    assert fold.sender.logs[CHANGELOG, HOME][-6:] == [OutRecord(user.encode(), None) for user in users[:6]]
    assert first in {key for _, key in fold.due_users()}
    assert fold.state(first) is None

    await fold.fold(record(101, event_value(user_id=users[0], event_id="back"), key=first))

    state = fold.state(first)
    assert state is not None
    assert (state.revision, len(state.window)) == (1, 1)


async def test_row_61_who_was_quiet_too_long_is_forgotten_with_the_next_bundle() -> None:
    fold = folder(virtual_time=True, eviction=EvictionRules(ttl_ms=days(400)))
    much_later = NOW_MS + days(401)
    other = next(
        user for user in (f"o{number}" for number in range(99)) if PARTITION_OF(user.encode()) == HOME
    )
    await fold.fold(record(0))

    fold.clock.monotonic += 601.0
    value = event_value(user_id=other, occurred_at_ms=much_later)
    await fold.fold(record(1, value, key=other.encode(), timestamp=much_later))

    assert (fold.state(), fold.metrics.evicted.labels("expired")._value.get()) == (None, 1)
    assert fold.state(other.encode()) is not None
    late = record(2, event_value(event_id="e9"), timestamp=much_later)
    await fold.fold(late)
    assert fold.outcomes()["late", ""] == 1
    assert fold.state() is None


async def test_row_66_hostile_headers_are_never_read_and_go_nowhere() -> None:
    fold = folder()
    hostile = [("Faust-Ag-ReplyTo", b"interest.updates"), ("Faust-Ag-CorrelationId", b"\xff\xfe")]
    many = [(f"h{number}", b"\x00\xff") for number in range(10_000)]

    await fold.fold(record(0, headers=[*hostile, *many]))

    assert fold.outcomes() == {("accepted", ""): 1}
    assert {topic for (topic, _), log in fold.sender.logs.items() if log} == {CHANGELOG, TEXTS_TOPIC}


async def test_row_67_a_burst_of_poison_is_rejected_one_by_one_and_the_good_ones_in_it_are_taken() -> None:
    fold = folder()
    kinds = [bad for bad in REJECTED if len(bad.value) < 2000]
    poison = [record(offset, kinds[offset % len(kinds)].value) for offset in range(2000)]

    await fold.fold(*poison, record(2000))

    assert sum(count for (outcome, _), count in fold.outcomes().items() if outcome == "rejected") == 2000
    assert fold.outcomes()["accepted", ""] == 1
    assert len(fold.sender.records(DEAD_LETTER_TOPIC)) == 2000


async def test_row_53_a_thousand_events_at_one_moment_leave_the_last_by_id() -> None:
    fold = folder()
    values = [event_value(event_id=f"{(number * 7) % 1000:03d}") for number in range(1000)]

    await fold.fold(*(record(offset, value) for offset, value in enumerate(values)))

    assert fold.outcomes() == {("accepted", ""): 1000}
    state = fold.state()
    assert state is not None
    assert state.window.event_ids == [b"%03d" % number for number in range(936, 1000)]


async def test_row_56_without_an_id_the_same_body_is_the_same_event() -> None:
    fold = folder()
    value, another = event_value(event_id=...), event_value(event_id=..., session_id="s2")

    await fold.fold(record(0, value), record(1, value), record(2, another))

    assert fold.outcomes() == {("normalised", "no_event_id"): 2, ("duplicate", ""): 1}


async def test_the_same_id_of_another_source_is_another_event() -> None:
    fold = folder()

    await fold.fold(record(0, event_value(source="shop")), record(1, event_value(source="app")))

    assert fold.outcomes() == {("accepted", ""): 2}


async def test_row_57_a_topic_produced_again_changes_nothing() -> None:
    fold = folder()
    values = [event_value(event_id=f"e{number}") for number in range(3)]
    await fold.fold(*(record(offset, value) for offset, value in enumerate(values)))
    before = fold.store.get(HOME, KEY)

    soon, late = NOW_MS + days(0.5), NOW_MS + days(2)
    await fold.fold(*(record(offset, value, timestamp=soon) for offset, value in enumerate(values, 3)))
    await fold.fold(*(record(offset, value, timestamp=late) for offset, value in enumerate(values, 6)))

    assert fold.outcomes() == {("accepted", ""): 3, ("duplicate", ""): 3, ("late", ""): 3}
    assert fold.store.get(HOME, KEY) == before


async def test_a_bundle_that_comes_again_changes_nothing() -> None:
    fold = folder()
    bundle = [record(offset, event_value(event_id=f"e{offset}")) for offset in range(4)]
    await fold.fold(*bundle)
    before = fold.store.get(HOME, KEY)

    await fold.fold(*bundle[2:])

    assert fold.outcomes() == {("accepted", ""): 4, ("replayed", ""): 2}
    assert fold.store.get(HOME, KEY) == before


# -- records made to break the worker ----------------------------------------------------------------------------


@pytest.mark.parametrize("timestamp", [-1, 0, 2**62])
@pytest.mark.parametrize("topic", [CLICK_TOPIC, CONTROL_TOPIC])
async def test_a_timestamp_that_is_no_time_is_rejected_and_moves_no_clock(topic: str, timestamp: int) -> None:
    fold = folder(virtual_time=True)
    value = event_value(occurred_at_ms=...) if topic == CLICK_TOPIC else b'{"action":"erase","user_id":"u1"}'

    await fold.fold(Record(topic, HOME, 0, timestamp, value=value))

    assert fold.outcomes() == {("rejected", "ts_invalid"): 1}
    assert fold.time.now_ms() == 0


@pytest.mark.parametrize("content", [None, b"", b"soon", b"9" * 5000, "²".encode()])
async def test_a_hostile_time_of_sending_is_as_good_as_none(content: Any) -> None:
    fold = folder(virtual_time=True)

    await fold.fold(record(0, headers=[(SENT_HEADER, content)]))

    assert fold.outcomes() == {("accepted", ""): 1}
    assert fold.due.take(1, 2000.0)[0].appended_ms == 0


async def test_a_huge_key_does_not_make_a_dead_letter_that_no_broker_takes() -> None:
    fold = folder()

    await fold.fold(record(0, b"", key=b"k" * 1_000_000))

    (letter,) = fold.sender.records(DEAD_LETTER_TOPIC)
    assert letter.key == b"k" * 1024
    assert headers(letter)["interestflow.key-bytes"] == b"1000000"


async def test_huge_headers_do_not_make_a_copy_that_no_broker_takes() -> None:
    fold = folder()

    await fold.fold(record(0, key=None, headers=[("x", b"h" * 900_000)]))

    assert fold.outcomes() == {("rejected", "too_large"): 1}
    assert fold.sender.records(CLICK_TOPIC) == []


# -- durable, then visible ---------------------------------------------------------------------------------------


async def test_a_bundle_goes_to_changelog_texts_and_store_and_its_users_are_due() -> None:
    fold = folder()

    await fold.fold(record(0), record(1, event_value(event_id="e2", items=[item("Brie", "Cheese")])))

    (change,) = fold.sender.logs[CHANGELOG, HOME]
    assert (change.key, change.value) == (KEY, fold.store.get(HOME, KEY))
    assert fold.store.persisted_offset(HOME) == 0
    assert sorted(text.value or b"" for text in fold.sender.records(TEXTS_TOPIC)) == [
        b"brie, cheese, drinks", b"green tea, tea, drinks",
    ]  # fmt: skip
    assert fold.due_users() == [(HOME, KEY)]


async def test_a_text_is_written_once() -> None:
    fold = folder()

    await fold.fold(record(0))
    await fold.fold(record(1, event_value(event_id="e2")))

    assert len(fold.sender.records(TEXTS_TOPIC)) == 1


async def test_a_purchase_makes_its_user_urgent() -> None:
    fold = folder()
    buyer = next(
        user for user in (f"b{number}" for number in range(99)) if PARTITION_OF(user.encode()) == HOME
    )

    await fold.fold(record(0))
    value = event_value(user_id=buyer, event_type="purchase")
    await fold.fold(record(0, value, key=buyer.encode(), topic=PURCHASE_TOPIC))

    assert fold.due_users() == [(HOME, buyer.encode()), (HOME, KEY)]


@pytest.mark.parametrize("error", [SendAbandonedError("moved"), SendFailedError("no")])
async def test_what_could_not_be_sent_is_as_if_it_had_never_come(error: Exception) -> None:
    fold = folder()
    await fold.fold(record(0))
    before, counts = fold.store.get(HOME, KEY), counted(fold.metrics)
    fold.due.clear()
    bundle = [record(1, event_value(event_id="e2", items=[item("Brie")])), record(2, b"bad")]

    fold.sender.error = error
    with pytest.raises(type(error)):
        await fold.fold(*bundle)

    assert (fold.store.get(HOME, KEY), counted(fold.metrics), fold.due_users()) == (before, counts, [])
    assert fold.metrics.dead_letters.labels(CLICK_TOPIC, "json")._value.get() == 0

    fold.sender.error = None
    await fold.fold(*bundle)
    state = fold.state()
    assert state is not None
    assert (state.revision, state.window.event_ids) == (2, [b"e1", b"e2"])
    assert len(fold.sender.records(TEXTS_TOPIC)) == 2


async def test_when_almost_everything_is_bad_the_bundle_that_shows_it_is_not_sent() -> None:
    fold = folder(limit=LimitRules(0.9, 10))
    bad = [record(offset, b"bad") for offset in range(99)]
    await fold.fold(*bad)

    with pytest.raises(
        DeadLetterLimitError, match=r"100% of the last records of behaviour.click were rejected"
    ):
        await fold.fold(record(99, b"bad"))

    assert fold.outcomes() == {("rejected", "json"): 99}
    assert len(fold.sender.records(DEAD_LETTER_TOPIC)) == 99


async def test_a_bundle_of_partitions_that_moved_is_not_sent() -> None:
    fold = folder()

    with pytest.raises(SendAbandonedError):
        await fold.folder.fold(CLICK_TOPIC, HOME, [record(0)], lambda: True)

    assert fold.sender.records(CHANGELOG) == []


async def test_a_send_that_outlasted_a_rebalance_brings_nothing_back_into_the_store() -> None:
    fold = folder()
    asked = iter([False, False, True])

    with pytest.raises(SendAbandonedError):
        await fold.folder.fold(CLICK_TOPIC, HOME, [record(0)], lambda: next(asked))

    assert len(fold.sender.records(CHANGELOG)) == 1
    assert (fold.store.partitions(), fold.due_users(), counted(fold.metrics)) == (set(), [], {})


async def test_a_user_who_left_the_live_states_in_the_middle_of_a_bundle_loses_nothing() -> None:
    fold = folder(live_users=1)
    other = next(
        user for user in (f"o{number}" for number in range(99)) if PARTITION_OF(user.encode()) == HOME
    )

    await fold.fold(
        record(0, event_value(event_id="e0")),
        record(1, event_value(user_id=other), key=other.encode()),
        record(2, event_value(event_id="e2")),
    )

    state = fold.state()
    assert state is not None
    assert (state.revision, state.window.event_ids) == (2, [b"e0", b"e2"])
    await fold.fold(record(3, event_value(event_id="e3")))
    again = fold.state()
    assert again is not None
    assert again.window.event_ids == [b"e0", b"e2", b"e3"]


@pytest.mark.parametrize("records", [1, 499, 500, 1200])
async def test_every_record_moves_the_events_counter_by_one(records: int) -> None:
    fold = folder()
    kinds: Sequence[bytes] = (event_value(), b"", event_value(event_id=...), event_value(user_id="x"))

    await fold.fold(*(record(offset, kinds[offset % 4]) for offset in range(records)))

    assert sum(fold.outcomes().values()) == records


async def test_freshness_counts_from_the_append_or_in_a_replay_from_the_sending() -> None:
    live, replay = folder(), folder(virtual_time=True)
    sent = record(0, headers=[("x", b"1"), (SENT_HEADER, b"123")])

    await live.fold(sent)
    await replay.fold(sent)

    assert [fold.due.take(1, 2000.0)[0].appended_ms for fold in (live, replay)] == [NOW_MS, 123]


async def test_freshness_counts_from_the_first_event_of_a_bundle() -> None:
    fold = folder()
    later = record(1, event_value(event_id="e2"), timestamp=NOW_MS + 500)

    await fold.fold(record(0), later)

    assert fold.due.take(1, 2000.0)[0].appended_ms == NOW_MS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TEA, "cid"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    records=st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from([*event_fields(), "ad", "search_term", "source"]), JSON, max_size=2
            ),
            st.sampled_from(EVENT_TYPES),
            st.integers(-(2**63), 2**63 - 1) | st.integers(NOW_MS, NOW_MS + days(40)),
        ),
        max_size=8,
    )
)
async def test_no_events_whatever_end_the_worker(records: list[tuple[dict[str, Any], str, int]]) -> None:
    fold = folder()
    bundle = [
        record(
            offset,
            event_value(**{"event_id": f"e{offset}", "event_type": event_type, **changes}),
            timestamp=time,
        )
        for offset, (changes, event_type, time) in enumerate(records)
    ]

    await fold.folder.fold(CLICK_TOPIC, HOME, bundle, never)

    assert sum(fold.outcomes().values()) == len(bundle)
    state = fold.state()
    assert state is None or encode_state(state) == fold.store.get(HOME, KEY)
