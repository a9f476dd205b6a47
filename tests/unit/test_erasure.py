"""An erased user: what recognises stragglers, how the key goes from the state, and the report that proves it."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence

import orjson
import pytest

from stream.erasure.burial import Grave
from stream.erasure.marker import is_marker_key, marker_key
from stream.erasure.report import Found, Place, Report, mentions, topic_place
from stream.events import CONTROL_TOPIC, TEXTS_TOPIC, Outcome
from stream.fold import ERASED_MARKER_MS
from stream.partitioner import partitioner
from stream.privacy import PrivacyRules
from stream.render import text_hash
from stream.sender import Outgoing, SendAbandonedError
from stream.sources import check_homes, highest_applied
from stream.state import decode_state, peek_erased
from tests.builders import NOW_MS, USER, Record, days, event_value, never
from tests.unit.test_bad_inputs import CHANGELOG, HOME, KEY, PARTITIONS, Fold, folder, record

SECRET = b"kept apart"
MARKER = marker_key(KEY, SECRET)
ERASE = Record(CONTROL_TOPIC, HOME, 5)


def guarded() -> Fold:
    return folder(privacy=PrivacyRules(marker_secret=SECRET))


async def buried() -> Fold:
    """A user of one click who was erased and buried."""
    fold = guarded()
    await fold.fold(record(0))
    await fold.fold(ERASE)
    await fold.folder.burial.bury([Grave(HOME, KEY, 2)], never)
    return fold


def test_a_marker_key_is_a_keyed_hash_that_can_not_be_an_id() -> None:
    expected = hmac.new(SECRET, KEY, hashlib.sha256).digest()[:16]

    assert marker_key(KEY, SECRET) == b"\xff" + expected
    assert marker_key(KEY, b"") != marker_key(KEY, SECRET)
    assert is_marker_key(MARKER)
    assert not is_marker_key("ÿ".encode())
    with pytest.raises(UnicodeDecodeError):
        MARKER.decode()


# -- FOLD --------------------------------------------------------------------------------------------------------


async def test_an_erasure_leaves_a_marker_under_the_key_until_it_is_published_and_one_under_its_hash() -> (
    None
):
    fold = guarded()
    await fold.fold(record(0))

    await fold.fold(ERASE)

    plain, hashed = fold.store.get(HOME, KEY), fold.store.get(HOME, MARKER)
    assert plain == hashed
    assert plain is not None
    assert peek_erased(plain)
    assert fold.due_users() == [(HOME, KEY)]


async def test_after_the_burial_only_the_marker_under_its_hash_is_left() -> None:
    fold = await buried()

    assert [key for key, _ in fold.store.scan(HOME)] == [MARKER]
    last = fold.sender.records(CHANGELOG)[-1]
    assert (last.key, last.value) == (KEY, None)
    assert KEY not in b"".join(data for _, data in fold.store.scan(HOME))


async def test_a_straggler_of_a_buried_user_is_dropped_and_one_read_again_is_known() -> None:
    fold = await buried()

    await fold.fold(record(0), record(1, event_value(event_id="e2")))

    assert fold.outcomes()["erased", ""] == 1
    assert fold.outcomes()["replayed", ""] == 1
    assert [key for key, _ in fold.store.scan(HOME)] == [MARKER]


async def test_after_the_markers_life_the_user_is_a_new_one_with_a_higher_revision() -> None:
    fold = await buried()
    back_ms = NOW_MS + ERASED_MARKER_MS

    await fold.fold(record(1, event_value(event_id="e2", occurred_at_ms=back_ms), timestamp=back_ms))

    state = fold.state()
    assert state is not None
    assert (state.revision, state.erased_at_ms, len(state.window)) == (3, 0, 1)


async def test_a_user_can_be_erased_again_after_the_burial() -> None:
    fold = await buried()

    await fold.fold(Record(CONTROL_TOPIC, HOME, 6))
    await fold.folder.burial.bury([Grave(HOME, KEY, 3)], never)

    assert [(key, decode_state(data).revision) for key, data in fold.store.scan(HOME)] == [(MARKER, 3)]


async def test_nobody_is_buried_who_is_not_erased_at_that_revision() -> None:
    fold = guarded()
    await fold.fold(record(0))
    living = fold.store.get(HOME, KEY)

    await fold.folder.burial.bury([Grave(HOME, KEY, 1), Grave(HOME, b"unknown", 1)], never)
    assert fold.store.get(HOME, KEY) == living

    await fold.fold(ERASE)
    await fold.folder.burial.bury([Grave(HOME, KEY, 1)], never)
    assert fold.store.get(HOME, KEY) is not None


async def test_a_burial_after_the_partitions_moved_is_the_new_owners() -> None:
    fold = guarded()
    await fold.fold(ERASE)

    with pytest.raises(SendAbandonedError, match="the new owner does it"):
        await fold.folder.burial.bury([Grave(HOME, KEY, 1)], lambda: True)

    assert fold.store.get(HOME, KEY) is not None


async def test_a_burial_waits_for_the_bundle_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = guarded()
    await fold.fold(ERASE)
    started, go_on = asyncio.Event(), asyncio.Event()
    send = fold.sender.send

    async def slow(outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        started.set()
        await go_on.wait()
        return await send(outgoing, abandoned)

    monkeypatch.setattr(fold.sender, "send", slow)
    later = NOW_MS + ERASED_MARKER_MS + days(1)
    folding = asyncio.create_task(
        fold.fold(record(1, event_value(event_id="e2", occurred_at_ms=later), timestamp=later))
    )
    await started.wait()
    burying = asyncio.create_task(fold.folder.burial.bury([Grave(HOME, KEY, 1)], never))
    go_on.set()
    await asyncio.gather(folding, burying)

    state = fold.state()
    assert state is not None  # the user came back in that bundle
    assert len(state.window) == 1


async def test_the_words_that_an_erased_user_typed_are_taken_from_the_shared_texts() -> None:
    fold = guarded()
    search = {"event_type": "search", "items": [], "search_term": "Quince paste"}
    await fold.fold(record(0, event_value(event_id="e0", **search)), record(1))

    await fold.fold(ERASE)

    written = [(out.key, out.value) for out in fold.sender.records(TEXTS_TOPIC)]
    tombstone = (f"{text_hash('quince paste'):016x}".encode(), None)
    assert [entry for entry in written if entry[1] is None] == [tombstone]
    assert len(written) == 3


async def test_a_marker_counts_for_applied_offsets_and_not_as_a_user_of_another_partition() -> None:
    fold = await buried()

    check_homes(fold.store, HOME, partitioner("murmur2", PARTITIONS))
    assert sorted(highest_applied(fold.store, HOME).values()) == [0, 5]


async def test_an_erasure_is_counted_as_accepted() -> None:
    fold = guarded()

    await fold.fold(ERASE)

    assert fold.outcomes() == {(Outcome.ACCEPTED, ""): 1}


# -- report ------------------------------------------------------------------------------------------------------

DAY = 86_400_000
NOTHING = Found(0, 0, in_force=False, newest_ms=0)


@pytest.mark.parametrize(
    ("value", "user", "named"),
    [
        (b'{"user_id":"7"}', b"7", True),
        (b'{"price":7}', b"7", False),
        (b"{not json u-123456", b"u-123456", True),
        (b'{"user_id":"J\\u00f6rg"}', "Jörg".encode(), False),
        ('{"user_id":"Jörg"}'.encode(), "Jörg".encode(), True),
    ],
)
def test_a_value_names_a_user_as_a_whole_text_or_by_a_long_id(
    value: bytes, user: bytes, *, named: bool
) -> None:
    assert mentions(value, user) is named


def test_a_log_kept_by_age_is_clean_after_retention_and_the_length_of_a_segment() -> None:
    config = {"retention.ms": str(30 * DAY), "segment.ms": str(7 * DAY)}

    place = topic_place(
        "t", Found(3, 1, in_force=True, newest_ms=NOW_MS), config, compacted=False, now_ms=NOW_MS + 9
    )

    assert place == Place("t", "retention", 3, 1, in_force=False, gone_by_ms=NOW_MS + 37 * DAY)


def test_a_compacted_topic_is_clean_after_two_compactions_and_the_tombstones_own_time() -> None:
    config = {"max.compaction.lag.ms": str(7 * DAY), "delete.retention.ms": str(DAY)}

    place = topic_place("t", Found(2, 0, in_force=False, newest_ms=1), config, compacted=True, now_ms=NOW_MS)

    assert place == Place("t", "tombstone", 2, 0, in_force=False, gone_by_ms=NOW_MS + 15 * DAY)


@pytest.mark.parametrize(
    ("config", "compacted"),
    [
        ({}, False),
        ({"retention.ms": "-1", "segment.ms": "1"}, False),
        ({"max.compaction.lag.ms": str(2**63 - 1), "delete.retention.ms": "1"}, True),
    ],
)
def test_what_no_configuration_ends_is_not_promised(config: dict[str, str], *, compacted: bool) -> None:
    place = topic_place(
        "t", Found(1, 0, in_force=True, newest_ms=1), config, compacted=compacted, now_ms=NOW_MS
    )

    assert (place.gone_by_ms, place.in_force) == (None, compacted)
    assert topic_place("t", NOTHING, config, compacted=compacted, now_ms=NOW_MS).gone_by_ms == 0


def report(*places: Place, carried_out: bool = True) -> Report:
    return Report("0a", NOW_MS, carried_out, places)


GONE = Place("decisions", "retention", 2, 0, in_force=False, gone_by_ms=NOW_MS + DAY)
LEFT = Place("updates", "tombstone", 1, 0, in_force=True, gone_by_ms=None)


def test_a_report_is_complete_once_nothing_is_in_force_and_a_worker_did_it() -> None:
    assert report(GONE).is_complete
    assert not report(GONE, LEFT).is_complete
    assert not report(GONE, carried_out=False).is_complete
    assert (report(GONE).gone_by_ms, report(GONE, LEFT).gone_by_ms) == (NOW_MS + DAY, None)


def test_a_report_as_json_says_all_and_does_not_name_the_user() -> None:
    document = orjson.loads(report(GONE).to_json())

    assert document == {
        "user_hash": "0a",
        "requested_at_ms": NOW_MS,
        "carried_out": True,
        "places": [
            {
                "place": "decisions",
                "mechanism": "retention",
                "found_by_key": 2,
                "found_in_value": 0,
                "in_force": False,
                "gone_by_ms": NOW_MS + DAY,
            }
        ],
        "complete": True,
        "gone_by_ms": NOW_MS + DAY,
    }
    assert USER not in str(document)


def test_a_report_as_a_table_says_when_each_place_is_clean() -> None:
    lines = report(GONE, LEFT, Place("texts", "no reference", 0, 0, in_force=False, gone_by_ms=0)).lines()

    assert [line.split()[0] for line in lines] == ["place", "decisions", "updates", "texts"]
    assert lines[1].endswith("2023-11-15 22:13  ok")
    assert lines[2].endswith("not promised      IN FORCE")
    assert lines[3].endswith("nothing there     ok")
