"""Merging ids through FOLD: the request, the hand-over between two partitions, stragglers, and every bad request."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from stream.consent import ALL_PURPOSES, Consent, purpose_bits
from stream.dead_letter import REASON_HEADER
from stream.erasure.burial import Grave
from stream.erasure.report import mentions
from stream.errors import StateVersionError
from stream.events import (
    AD_TOPIC,
    CLICK_TOPIC,
    CONTROL_TOPIC,
    DEAD_LETTER_TOPIC,
    HANDOVER_TOPIC,
    TEXTS_TOPIC,
    Change,
)
from stream.exposure import campaign_hash
from stream.handover import HandOver, encode_handover
from stream.privacy import PrivacyRules
from stream.render import category_hash, text_hash
from stream.reproducing import HOP_HEADER, MERGE_HOPS_HEADER
from stream.sender import Outgoing, OutRecord, SendAbandonedError
from stream.state import UserState, decode_state
from stream.sweep import EvictionRules
from stream.ties import REDIRECT_MS
from tests.builders import NOW_MS, Record, counted, days, event_value, item, never
from tests.unit.test_bad_inputs import CHANGELOG, PARTITION_OF, Fold, folder

ANN, VISITOR = "ann", "visitor-4"
assert PARTITION_OF(ANN.encode()) != PARTITION_OF(VISITOR.encode())


def home(user: str) -> int:
    return PARTITION_OF(user.encode())


def click(user: str, offset: int, event_id: str | None, **changes: Any) -> Record:
    fields = {"user_id": user, "event_id": event_id, "items": [item(event_id or "x")], **changes}
    return Record(CLICK_TOPIC, home(user), offset, key=user.encode(), value=event_value(**fields))


def says(user: str, offset: int, **fields: Any) -> Record:
    value = orjson.dumps({"user_id": user, **fields})
    return Record(CONTROL_TOPIC, home(user), offset, key=user.encode(), value=value)


def merge(anonymous: str, known: str, offset: int = 0, **changes: Any) -> Record:
    value = orjson.dumps({"action": "merge", "user_id": known, "anonymous_id": anonymous})
    record = Record(CONTROL_TOPIC, home(anonymous), offset, key=anonymous.encode(), value=value)
    return replace(record, **changes)


class Handover:
    """Feeds what workers produced for other partitions back in, as the broker does."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self._read: dict[tuple[str, int], int] = {}

    async def deliver(self) -> int:
        """Fold what is new on the topics that workers write to, until nothing is; how many records that was."""
        delivered = 0
        while batch := self._next():
            await self.fold.fold(*batch)
            delivered += len(batch)
        return delivered

    def _next(self) -> list[Record]:
        for topic in (HANDOVER_TOPIC, CONTROL_TOPIC, CLICK_TOPIC, AD_TOPIC):
            for (name, partition), log in self.fold.sender.logs.items():
                start = self._read.get((topic, partition), 0)
                if name != topic or start >= len(log):
                    continue
                self._read[topic, partition] = len(log)
                # Behind whatever a test put there itself.
                return [
                    Record(
                        topic,
                        partition,
                        1000 + start + number,
                        out.timestamp_ms or NOW_MS,
                        out.key,
                        out.value,
                        out.headers,
                    )
                    for number, out in enumerate(log[start:])
                ]
        return []


def state_of(fold: Fold, user: str) -> UserState:
    state = fold.state(user.encode(), home(user))
    assert state is not None
    return state


def bought(fold: Fold, user: str) -> list[bytes]:
    return [one.event_id for one in state_of(fold, user).window.behaviours()]


def reasons(fold: Fold) -> list[bytes]:
    return [dict(letter.headers)[REASON_HEADER] for letter in fold.sender.records(DEAD_LETTER_TOPIC)]


async def merged(fold: Fold | None = None) -> Fold:
    """A visitor of two clicks who turned out to be ann, who had one."""
    fold = fold or folder()
    await fold.fold(click(VISITOR, 0, "v1"), click(VISITOR, 1, "v2"))
    await fold.fold(click(ANN, 0, "a1"))
    await fold.fold(merge(VISITOR, ANN))
    await Handover(fold).deliver()
    return fold


# -- the way of a merge ------------------------------------------------------------------------------------------


async def test_a_merge_brings_what_a_visitor_did_to_the_known_user_and_makes_both_due() -> None:
    fold = folder()
    await fold.fold(click(VISITOR, 0, "v1"), click(VISITOR, 1, "v2"))
    await fold.fold(click(ANN, 0, "a1"))
    fold.due.clear()

    await fold.fold(merge(VISITOR, ANN))
    await Handover(fold).deliver()

    assert bought(fold, ANN) == [b"a1", b"v1", b"v2"]
    assert list(state_of(fold, ANN).profile.weights)[5] == pytest.approx(0.75)
    assert len(state_of(fold, VISITOR).window) == 0
    assert state_of(fold, VISITOR).ties.into == b"ann"
    assert sorted(fold.due_users()) == sorted([(home(ANN), b"ann"), (home(VISITOR), b"visitor-4")])
    assert counted(fold.metrics)[CONTROL_TOPIC, "accepted", ""] == 1
    assert counted(fold.metrics)[HANDOVER_TOPIC, "accepted", ""] == 1


async def test_the_changelog_keeps_the_visitors_state_until_the_hand_over_is_out() -> None:
    fold = folder()
    await fold.fold(click(VISITOR, 0, "v1"))
    written: list[tuple[str, bytes | None, int]] = []
    send = fold.sender.send

    async def noted(outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        for out in outgoing:
            for record in out.records:
                kept = (
                    len(decode_state(record.value).window) if out.topic == CHANGELOG and record.value else -1
                )
                written.append((out.topic, record.key, kept))
        return await send(outgoing, abandoned)

    fold.sender.send = noted  # type: ignore[method-assign]

    await fold.fold(merge(VISITOR, ANN))

    assert written == [
        (CHANGELOG, b"visitor-4", 1),
        (HANDOVER_TOPIC, b"ann", -1),
        (CHANGELOG, b"visitor-4", 0),
    ]


@pytest.mark.parametrize("calls", [1, 2, 3])
async def test_a_merge_that_breaks_off_anywhere_is_done_once_when_it_is_read_again(calls: int) -> None:
    fold = folder()
    await fold.fold(click(VISITOR, 0, "v1"))
    await break_off(fold, merge(VISITOR, ANN), after=calls - 1)
    again = after_crash(fold)

    # What was not acked comes again, and another topic may be read first.
    await again.fold(click(VISITOR, 0, "v1"), click(VISITOR, 1, "v2"))
    await again.fold(merge(VISITOR, ANN))
    await Handover(again).deliver()

    assert bought(again, ANN) == [b"v1", b"v2"]
    assert list(state_of(again, ANN).profile.weights)[5] == pytest.approx(0.5)
    assert state_of(again, VISITOR).ties.pending == 0


async def break_off(fold: Fold, record: Record, *, after: int) -> None:
    """Fold a record whose worker dies once so many sends are out."""
    send, left = fold.sender.send, [after]

    async def broken(outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        if left[0] == 0:
            raise SendAbandonedError("the worker died")
        left[0] -= 1
        return await send(outgoing, abandoned)

    fold.sender.send = broken  # type: ignore[method-assign]
    with pytest.raises(SendAbandonedError):
        await fold.fold(record)
    fold.sender.send = send  # type: ignore[method-assign]


def after_crash(fold: Fold) -> Fold:
    """Another worker, with all that is on the broker and nothing else."""
    again = folder()
    again.sender.logs.update(fold.sender.logs)
    for (topic, partition), log in fold.sender.logs.items():
        if topic == CHANGELOG:
            again.store.put_batch(partition, [(out.key or b"", out.value) for out in log], len(log) - 1)
    return again


async def test_a_hand_over_that_comes_twice_counts_once() -> None:
    fold = await merged()
    (handed,) = fold.sender.records(HANDOVER_TOPIC)

    await fold.fold(Record(HANDOVER_TOPIC, home(ANN), 2000, key=b"ann", value=handed.value))
    await fold.fold(Record(HANDOVER_TOPIC, home(ANN), 1000, key=b"ann", value=handed.value))

    assert bought(fold, ANN) == [b"a1", b"v1", b"v2"]
    assert counted(fold.metrics)[HANDOVER_TOPIC, "duplicate", ""] == 1
    assert counted(fold.metrics)[HANDOVER_TOPIC, "replayed", ""] == 1


@pytest.mark.parametrize("key", [ANN.encode(), None])
async def test_a_request_keyed_by_the_known_user_or_by_nobody_is_put_where_the_visitor_is(
    key: bytes | None,
) -> None:
    fold = folder()
    await fold.fold(click(VISITOR, 0, "v1"))

    await fold.fold(merge(VISITOR, ANN, partition=home(ANN), key=key))
    await Handover(fold).deliver()

    assert bought(fold, ANN) == [b"v1"]
    change = "null_key" if key is None else "repartitioned"
    assert counted(fold.metrics)[CONTROL_TOPIC, "reproduced", change] == 1
    (moved,) = fold.sender.records(CONTROL_TOPIC)
    assert (moved.key, moved.headers) == (b"visitor-4", ((HOP_HEADER, b"1"),))


async def test_both_ids_may_live_on_one_partition() -> None:
    other = next(f"guest-{number}" for number in range(99) if home(f"guest-{number}") == home(ANN))
    fold = folder()
    await fold.fold(click(other, 0, "v1"), click(ANN, 1, "a1"))

    await fold.fold(merge(other, ANN))
    await Handover(fold).deliver()

    assert bought(fold, ANN) == [b"a1", b"v1"]


# -- stragglers --------------------------------------------------------------------------------------------------


async def test_an_event_that_still_comes_under_the_visitors_id_counts_for_the_known_user() -> None:
    fold = await merged()

    await fold.fold(click(VISITOR, 2, "v3"))
    await Handover(fold).deliver()

    assert bought(fold, ANN) == [b"a1", b"v1", b"v2", b"v3"]
    assert counted(fold.metrics)[CLICK_TOPIC, "reproduced", "merged"] == 1
    (passed,) = fold.sender.records(CLICK_TOPIC)
    assert (passed.key, passed.headers, passed.timestamp_ms) == (b"ann", ((MERGE_HOPS_HEADER, b"1"),), NOW_MS)
    assert orjson.loads(passed.value or b"")["user_id"] == "ann"


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (click(VISITOR, 1, "v2"), "replayed"),
        (click(VISITOR, 2, "v2"), "duplicate"),
        (click(VISITOR, 2, "late", occurred_at_ms=NOW_MS - days(2)), "late"),
        (click(VISITOR, 2, "v2", event_type="purchase"), "rejected"),
    ],
)
async def test_what_the_visitor_had_or_could_not_have_is_not_passed_on(record: Record, outcome: str) -> None:
    fold = await merged()

    await fold.fold(record)

    assert fold.sender.records(CLICK_TOPIC) == []
    assert {name for (_, name, _) in counted(fold.metrics)} == {"accepted", outcome}


async def test_a_straggler_that_is_passed_on_twice_counts_once() -> None:
    fold = await merged()

    await fold.fold(click(VISITOR, 2, "v3"))
    await fold.fold(click(VISITOR, 2, "v3"))
    await Handover(fold).deliver()

    assert bought(fold, ANN) == [b"a1", b"v1", b"v2", b"v3"]
    assert counted(fold.metrics)[CLICK_TOPIC, "duplicate", ""] == 1


async def test_an_event_without_id_that_is_passed_on_twice_counts_once() -> None:
    fold = await merged()
    straggler = click(VISITOR, 2, None)

    await fold.fold(straggler)
    await fold.fold(straggler)
    await Handover(fold).deliver()

    assert len(bought(fold, ANN)) == 4


async def test_a_merge_of_a_visitor_of_whom_nothing_came_yet_is_counted_and_later_events_are_passed_on() -> (
    None
):
    fold = folder()
    await fold.fold(merge(VISITOR, ANN))
    await fold.fold(click(VISITOR, 0, "v1"))
    await Handover(fold).deliver()

    assert counted(fold.metrics)[CONTROL_TOPIC, "normalised", "unknown_user"] == 1
    assert bought(fold, ANN) == [b"v1"]


async def test_after_its_time_a_redirect_ends_and_the_id_is_a_new_visitor() -> None:
    fold = await merged()
    back_ms = NOW_MS + REDIRECT_MS
    late = replace(click(VISITOR, 2, "v9", occurred_at_ms=back_ms), timestamp=back_ms)

    await fold.fold(late)

    assert bought(fold, VISITOR) == [b"v9"]


async def test_the_sweep_takes_redirects_whose_time_is_over_whatever_the_users_limit() -> None:
    fold = await merged(folder(eviction=EvictionRules(ttl_ms=days(400))))
    fold.time.advance(NOW_MS + REDIRECT_MS + 1)
    fold.clock.now_ms += REDIRECT_MS + 1
    fold.clock.monotonic += 601

    later = NOW_MS + REDIRECT_MS + 1
    await fold.fold(replace(click(ANN, 5, "a2", occurred_at_ms=later), timestamp=later))

    assert fold.state(b"visitor-4", home(VISITOR)) is None
    assert fold.state(b"ann", home(ANN)) is not None


# -- requests that say something odd -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_id", "anonymous_id", "reason"),
    [
        (ANN, ANN, "merge_self"),
        ("J\u00f6rg", "Jo\u0308rg", "merge_self"),
        ("", VISITOR, "user_id"),
        (ANN, "  ", "user_id"),
        (ANN, ..., "missing"),
        (ANN, None, "missing"),
        (ANN, 7, "type"),
        (ANN, "x" * 257, "field_long"),
        ("ann@example.org", VISITOR, "pii_in_id"),
        (ANN, "ann@example.org", "pii_in_id"),
        (ANN, "zero\u200bwidth", "unicode_id"),
        (ANN, "nul\u0000", "control"),
    ],
)
async def test_a_merge_that_can_not_be_is_a_dead_letter_with_its_reason(
    user_id: str, anonymous_id: Any, reason: str
) -> None:
    fold = folder()
    fields = {"action": "merge", "user_id": user_id, "anonymous_id": anonymous_id}
    value = orjson.dumps({name: value for name, value in fields.items() if value is not ...})

    await fold.fold(merge(VISITOR, ANN, value=value))

    assert counted(fold.metrics) == {(CONTROL_TOPIC, "rejected", reason): 1}
    assert fold.store.partitions() == set()


async def test_the_letter_of_a_merge_with_a_mail_address_holds_neither_id() -> None:
    fold = folder()
    value = orjson.dumps({"action": "merge", "user_id": "ann@example.org", "anonymous_id": VISITOR})

    await fold.fold(merge(VISITOR, ANN, value=value))

    (letter,) = fold.sender.records(DEAD_LETTER_TOPIC)
    assert (letter.key, letter.value) == (None, None)


async def test_a_merge_keyed_by_a_third_user_is_rejected() -> None:
    fold = folder()

    await fold.fold(merge(VISITOR, ANN, key=b"bob"))

    assert counted(fold.metrics) == {(CONTROL_TOPIC, "rejected", "key_mismatch"): 1}


async def test_a_merge_that_was_said_before_changes_nothing() -> None:
    fold = await merged()

    await fold.fold(merge(VISITOR, ANN, 1))
    await fold.fold(merge(VISITOR, ANN, 0))

    assert counted(fold.metrics)[CONTROL_TOPIC, "duplicate", ""] == 1
    assert counted(fold.metrics)[CONTROL_TOPIC, "replayed", ""] == 1
    assert len(fold.sender.records(HANDOVER_TOPIC)) == 1


async def test_of_a_shared_device_the_first_who_logs_in_has_the_past_and_the_next_what_comes_then() -> None:
    fold = await merged()

    await fold.fold(merge(VISITOR, "bob", 1))
    await fold.fold(click(VISITOR, 2, "v3"))
    await Handover(fold).deliver()

    assert counted(fold.metrics)[CONTROL_TOPIC, "normalised", "merged_elsewhere"] == 1
    assert (bought(fold, ANN), bought(fold, "bob")) == ([b"a1", b"v1", b"v2"], [b"v3"])


async def test_a_chain_of_merges_ends_at_its_last_user() -> None:
    fold = await merged()

    await fold.fold(merge(ANN, "zoe", 0))
    await Handover(fold).deliver()
    await fold.fold(click(VISITOR, 2, "v3"))
    await Handover(fold).deliver()

    assert bought(fold, "zoe") == [b"a1", b"v1", b"v2", b"v3"]
    assert {alias.user for alias in state_of(fold, "zoe").ties.aliases} == {b"ann", b"visitor-4"}


async def test_a_hand_over_that_finds_its_user_merged_goes_on_to_the_next() -> None:
    fold = folder()
    await fold.fold(click(VISITOR, 0, "v1"))
    await fold.fold(merge(ANN, "zoe", 0))
    await fold.fold(merge(VISITOR, ANN, 0))

    await Handover(fold).deliver()

    assert bought(fold, "zoe") == [b"v1"]
    assert counted(fold.metrics)[HANDOVER_TOPIC, "reproduced", "merged"] == 1


async def test_a_merge_back_is_rejected() -> None:
    fold = await merged()

    await fold.fold(merge(ANN, VISITOR, 0))

    assert reasons(fold) == [b"merge_loop"]
    assert bought(fold, ANN) == [b"a1", b"v1", b"v2"]


@pytest.mark.parametrize("circle", [[ANN, VISITOR], [ANN, VISITOR, "zoe"]])
async def test_merges_in_a_circle_that_cross_on_their_way_lose_and_double_nothing(circle: list[str]) -> None:
    fold = folder()
    for user in circle:
        await fold.fold(click(user, 0, f"{user}-1"))
    for user, into in zip(circle, [*circle[1:], circle[0]], strict=True):
        await fold.fold(merge(user, into, 0))

    assert await Handover(fold).deliver() < 20
    for user in circle:
        await fold.fold(click(user, 1, f"{user}-2"))
    await Handover(fold).deliver()

    known = [event_id for user in circle for event_id in bought(fold, user)]
    assert sorted(known) == sorted(f"{user}-{number}".encode() for user in circle for number in (1, 2))


async def test_what_is_passed_on_too_often_is_a_dead_letter() -> None:
    fold = await merged()
    straggler = replace(click(VISITOR, 2, "v3"), headers=[(MERGE_HOPS_HEADER, b"16")])

    await fold.fold(straggler)

    assert reasons(fold) == [b"merge_loop"]


# -- erasure -----------------------------------------------------------------------------------------------------


async def test_a_merge_of_an_erased_visitor_changes_nothing() -> None:
    fold = folder()
    await fold.fold(says(VISITOR, 0, action="erase"))

    await fold.fold(merge(VISITOR, ANN, 1))

    assert counted(fold.metrics)[CONTROL_TOPIC, "erased", ""] == 1
    assert fold.sender.records(HANDOVER_TOPIC) == []


async def test_what_is_handed_over_to_an_erased_user_goes_with_him() -> None:
    fold = folder()
    search = {"event_type": "search", "items": [], "search_term": "quince paste"}
    await fold.fold(click(VISITOR, 0, "v1", **search))
    await fold.fold(says(ANN, 0, action="erase"))

    await fold.fold(merge(VISITOR, ANN))
    await Handover(fold).deliver()

    assert counted(fold.metrics)[HANDOVER_TOPIC, "erased", ""] == 1
    assert state_of(fold, ANN).erased_at_ms == NOW_MS
    assert OutRecord(f"{text_hash('quince paste'):016x}".encode(), None) in fold.sender.records(TEXTS_TOPIC)


@pytest.mark.parametrize("erased", [ANN, VISITOR, "guest"])
async def test_who_is_erased_under_one_id_is_erased_under_all(erased: str) -> None:
    fold = await merged()
    await fold.fold(merge("guest", ANN, 0))
    await Handover(fold).deliver()

    await fold.fold(says(erased, 5, action="erase"))
    assert await Handover(fold).deliver() < 20
    for user in (ANN, VISITOR, "guest"):
        await fold.fold(click(user, 7, f"{user}-7"))
    await Handover(fold).deliver()

    for user in (ANN, VISITOR, "guest"):
        state = state_of(fold, user)
        assert (state.erased_at_ms, len(state.window), state.ties.into) == (NOW_MS, 0, b"")
    assert counted(fold.metrics)[CLICK_TOPIC, "erased", ""] == 3


async def test_after_the_burials_no_state_names_any_of_the_ids() -> None:
    fold = await merged()
    await fold.fold(says(ANN, 5, action="erase"))
    await Handover(fold).deliver()

    graves = [Grave(home(user), user.encode(), state_of(fold, user).revision) for user in (ANN, VISITOR)]
    await fold.folder.burial.bury(graves, never)

    left = [entry for partition in fold.store.partitions() for entry in fold.store.scan(partition)]
    assert not any(mentions(key + data, user) for key, data in left for user in (b"ann", b"visitor-4"))


async def test_the_visitors_past_does_not_go_with_a_later_user_of_the_device() -> None:
    fold = await merged()
    await fold.fold(merge(VISITOR, "bob", 1))
    await Handover(fold).deliver()

    await fold.fold(says(ANN, 5, action="erase"))
    await Handover(fold).deliver()

    assert state_of(fold, VISITOR).ties.into == b"bob"
    assert counted(fold.metrics)[HANDOVER_TOPIC, "ignored", "merged_elsewhere"] == 1


async def test_an_erasure_finds_every_id_in_what_is_kept_of_a_merge() -> None:
    fold = await merged()
    (handed,) = fold.sender.records(HANDOVER_TOPIC)
    changelog = {out.key: out.value or b"" for out in fold.sender.records(CHANGELOG)}

    assert mentions(handed.value or b"", b"ann")
    assert mentions(handed.value or b"", b"visitor-4")
    assert mentions(changelog[b"ann"], b"visitor-4")
    assert mentions(changelog[b"visitor-4"], b"ann")


async def test_a_published_redirect_is_not_buried() -> None:
    fold = await merged()
    before = fold.store.get(home(VISITOR), b"visitor-4")

    revision = state_of(fold, VISITOR).revision
    await fold.folder.burial.bury([Grave(home(VISITOR), b"visitor-4", revision, is_known=True)], never)

    assert before is not None
    assert fold.store.get(home(VISITOR), b"visitor-4") == before


# -- consent -----------------------------------------------------------------------------------------------------


async def test_a_known_user_who_may_not_be_profiled_gets_nothing() -> None:
    fold = folder()
    await fold.fold(click(VISITOR, 0, "v1"))
    await fold.fold(says(ANN, 0, action="consent", purposes=[2]))

    await fold.fold(merge(VISITOR, ANN))
    await Handover(fold).deliver()

    assert counted(fold.metrics)[HANDOVER_TOPIC, "no_consent", "consent_refused"] == 1
    assert (bought(fold, ANN), len(state_of(fold, ANN).profile)) == ([], 0)


async def test_a_visitor_who_may_not_be_profiled_brings_nothing_and_takes_nothing() -> None:
    fold = folder()
    await fold.fold(click(ANN, 0, "a1"))
    await fold.fold(says(VISITOR, 0, action="consent", purposes=[2]))

    await fold.fold(merge(VISITOR, ANN, 1))
    await Handover(fold).deliver()

    assert counted(fold.metrics)[CONTROL_TOPIC, "no_consent", "consent_refused"] == 1
    assert (bought(fold, ANN), state_of(fold, ANN).consent) == ([b"a1"], Consent())


async def test_purposes_are_those_that_both_allow() -> None:
    fold = folder()
    await fold.fold(says(VISITOR, 0, action="consent", purposes=[3, 4]))
    await fold.fold(says(ANN, 0, action="consent", purposes=[3, 5]))
    await fold.fold(click(VISITOR, 0, "v1"))

    await fold.fold(merge(VISITOR, ANN, 1))
    await Handover(fold).deliver()

    assert state_of(fold, ANN).consent.purposes == purpose_bits([3])
    assert bought(fold, ANN) == [b"v1"]


@pytest.mark.parametrize("minor", [ANN, VISITOR])
async def test_a_minor_under_either_id_is_one(minor: str) -> None:
    fold = folder()
    await fold.fold(click(ANN, 0, "a1"))
    await fold.fold(click(VISITOR, 0, "v1"))
    await fold.fold(says(minor, 0, action="consent", minor=True))

    await fold.fold(merge(VISITOR, ANN, 1))
    await Handover(fold).deliver()

    state = state_of(fold, ANN)
    assert (state.consent.is_minor, len(state.window), len(state.profile)) == (True, 0, 0)


async def test_what_is_said_under_a_merged_id_can_only_narrow() -> None:
    fold = await merged()
    await fold.fold(says(ANN, 0, action="consent", purposes=[3, 4]))

    await fold.fold(says(VISITOR, 1, action="consent", purposes=[3, 5, 6]))
    await Handover(fold).deliver()
    assert state_of(fold, ANN).consent.purposes == purpose_bits([3])
    assert counted(fold.metrics)[CONTROL_TOPIC, "reproduced", "merged"] == 1

    await fold.fold(says(VISITOR, 2, action="consent", purposes=[]))
    await Handover(fold).deliver()
    assert bought(fold, ANN) == []


async def test_a_narrowing_that_comes_twice_does_not_undo_what_was_said_since() -> None:
    fold = await merged()
    await fold.fold(says(VISITOR, 1, action="consent", purposes=[3]))
    later = Handover(fold)
    await later.deliver()
    await fold.fold(says(ANN, 1, action="consent", purposes=[3, 4]))

    await fold.fold(says(VISITOR, 1, action="consent", purposes=[3]))
    await later.deliver()

    assert state_of(fold, ANN).consent.purposes == purpose_bits([3, 4])


async def test_sensitive_parts_that_were_withheld_stay_so() -> None:
    fold = folder(privacy=PrivacyRules(default_purposes=ALL_PURPOSES))
    await fold.fold(click(VISITOR, 0, "v1"))

    await fold.fold(merge(VISITOR, ANN))
    await Handover(fold).deliver()

    assert list(state_of(fold, ANN).profile.categories) == [category_hash("tea")]


async def test_caps_count_what_the_visitor_was_shown() -> None:
    fold = folder()
    for user in (ANN, VISITOR):
        shown = event_value(user_id=user, event_type="ad_impression", ad={"cid": "c1"}, items=[])
        await fold.fold(Record(AD_TOPIC, home(user), 0, key=user.encode(), value=shown))

    await fold.fold(merge(VISITOR, ANN))
    await Handover(fold).deliver()

    assert state_of(fold, ANN).exposures.count_since(campaign_hash("c1"), 0) == 2


# -- the topic of the workers ------------------------------------------------------------------------------------


def handover(**changes: Any) -> HandOver:
    fields: dict[str, Any] = {
        "kind": "state", "changelog": CHANGELOG, "user_id": ANN, "from_user_id": VISITOR, "handover_id": "0" * 16,
        **changes,
    }  # fmt: skip
    return HandOver(**fields)


async def receive(value: bytes | None, key: bytes = b"ann", partition: int = home(ANN)) -> Fold:
    fold = folder()
    await fold.fold(Record(HANDOVER_TOPIC, partition, 0, key=key, value=value))
    return fold


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "json"),
        (b"[]", "type"),
        (b"{}", "type"),
        (encode_handover(handover(state="%%%")), "type"),
        (encode_handover(handover(state="AgAA")), "type"),
        (encode_handover(handover()).replace(b'"state","changelog"', b'"x","changelog"'), "type"),
    ],
)
async def test_what_no_worker_wrote_is_a_dead_letter(value: bytes | None, reason: str) -> None:
    assert reasons(await receive(value)) == [reason.encode()]


async def test_a_hand_over_of_another_deployment_is_none_of_ours() -> None:
    fold = await receive(encode_handover(handover(changelog="other-user-behaviour-changelog")))

    assert counted(fold.metrics) == {(HANDOVER_TOPIC, "ignored", ""): 1}


async def test_a_hand_over_on_the_wrong_partition_is_put_right() -> None:
    fold = await receive(encode_handover(handover()), partition=(home(ANN) + 1) % 4)

    assert counted(fold.metrics) == {(HANDOVER_TOPIC, "reproduced", Change.REPARTITIONED): 1}


async def test_a_state_that_a_newer_release_handed_over_stops_the_worker_by_name() -> None:
    with pytest.raises(StateVersionError):
        await receive(encode_handover(handover(state="/wAA")))
