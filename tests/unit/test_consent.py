"""Consent: what a statement means, what passes the gate, and what is published of whom."""

from typing import Any

import orjson
import pytest

from stream.consent import (
    ALL_PURPOSES,
    BASIC_ADS,
    PERSONALISED_ADS,
    PROFILE,
    Consent,
    Gap,
    allows,
    purpose_bits,
    purpose_list,
    stated,
)
from stream.control import read_statement
from stream.erasure.burial import Grave
from stream.errors import RejectionError
from stream.events import AD_TOPIC, CLICK_TOPIC, CONTROL_TOPIC, TEXTS_TOPIC, Change
from stream.fold import ERASED_MARKER_MS
from stream.privacy import PrivacyRules
from stream.render import text_hash
from stream.sender import OutRecord
from stream.state import UserState
from tests.builders import NOW_MS, USER, Record, counted, event_value, item, never
from tests.unit.ads_builders import campaign, decided, reasons, user
from tests.unit.test_bad_inputs import HOME, KEY, Fold, folder, record

NOTHING = 0
EVERYTHING = [2, 3, 4, 5, 6]


def says(offset: int = 0, timestamp: int = NOW_MS, **fields: Any) -> Record:
    """A statement of ``USER`` on users.control."""
    value = orjson.dumps({"action": "consent", "user_id": USER, **fields})
    return Record(CONTROL_TOPIC, HOME, offset, timestamp, value=value)


def strict() -> Fold:
    """Nobody is profiled without a consent."""
    return folder(privacy=PrivacyRules(default_purposes=NOTHING))


def state_of(fold: Fold) -> UserState:
    state = fold.state()
    assert state is not None
    return state


# -- what a statement means --------------------------------------------------------------------------------------


def test_purposes_are_a_set_of_numbers() -> None:
    assert purpose_list(purpose_bits([4, 2])) == [2, 4]
    assert purpose_list(ALL_PURPOSES) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert allows(purpose_bits([2, 4]), BASIC_ADS, PERSONALISED_ADS)
    assert not allows(purpose_bits([2]), BASIC_ADS, PERSONALISED_ADS)


@pytest.mark.parametrize(
    ("consent", "default", "gap"),
    [
        (Consent(), ALL_PURPOSES, None),
        (Consent(), NOTHING, Gap.MISSING),
        (stated([3], None, is_minor=False), NOTHING, None),
        (stated([2, 4], None, is_minor=False), ALL_PURPOSES, Gap.REFUSED),
        (stated([3], NOW_MS + 1000, is_minor=False), NOTHING, None),
        (stated([3], NOW_MS, is_minor=False), ALL_PURPOSES, Gap.EXPIRED),
        (stated([3], 0, is_minor=False), ALL_PURPOSES, Gap.EXPIRED),
        (stated([3], NOW_MS // 1000, is_minor=False), ALL_PURPOSES, Gap.EXPIRED),  # seconds for ms
        (stated(EVERYTHING, None, is_minor=True), ALL_PURPOSES, Gap.MINOR),
        (Consent(is_minor=True), ALL_PURPOSES, Gap.MINOR),
    ],
)
def test_who_may_not_be_profiled_and_why(consent: Consent, default: int, gap: Gap | None) -> None:
    assert consent.gap(NOW_MS, default) is gap


def test_a_minor_keeps_the_purposes_that_need_no_profile() -> None:
    minor = stated([2, 3, 4, 5, 6, 7], None, is_minor=True)

    assert purpose_list(minor.allowed(NOW_MS, NOTHING)) == [2, 7]


def test_a_time_beyond_the_states_last_second_never_comes() -> None:
    assert stated([3], 2**62, is_minor=False).expires_at_s == 2**32 - 1


# -- reading -----------------------------------------------------------------------------------------------------


def test_a_statement_is_read_as_it_is() -> None:
    statement = read_statement(KEY, says(purposes=[3, 4], expires_at_ms=5, minor=False).value)

    event = statement.event
    assert (event.action, event.user_id, event.purposes) == ("consent", USER, [3, 4])
    assert (event.expires_at_ms, event.minor, statement.change) == (5, False, Change.NONE)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"purposes": None},
        {"purposes": "3"},
        {"purposes": [99]},
        {"purposes": [3.0]},
        {"purposes": [True]},
        {"purposes": {"3": True}},
        {"purposes": [3], "expires_at_ms": "tomorrow"},
        {"purposes": [3], "minor": "no"},
        {"tc_string": "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"},
    ],
)
def test_a_consent_that_can_not_be_read_allows_nothing(fields: dict[str, Any]) -> None:
    statement = read_statement(KEY, says(**fields).value)

    assert (statement.event.purposes, statement.change) == ([], Change.CONSENT_UNREADABLE)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"not json", "json"),
        (b'{"action":"consent","user_id":7,"purposes":"x"}', "type"),
        (b'{"action":"consent","user_id":" ","purposes":"x"}', "type"),
        (b'{"action":"promote","user_id":"u1"}', "control_action"),
        (b'{"action":"erase"}', "missing"),
    ],
)
def test_a_statement_of_nobody_or_of_nothing_known_is_rejected(value: bytes, reason: str) -> None:
    with pytest.raises(RejectionError) as caught:
        read_statement(KEY, value)

    assert caught.value.reason == reason


# -- FOLD --------------------------------------------------------------------------------------------------------


async def test_row_62_without_a_consent_where_one_is_needed_nothing_is_kept_and_nobody_is_due() -> None:
    fold = strict()

    await fold.fold(record(0))

    assert fold.outcomes() == {("no_consent", "consent_missing"): 1}
    assert fold.store.partitions() == set()
    assert fold.sender.records(TEXTS_TOPIC) == []
    assert fold.due_users() == []


async def test_with_a_consent_for_a_profile_events_count() -> None:
    fold = strict()
    await fold.fold(says(purposes=[3]))

    await fold.fold(record(0))

    assert counted(fold.metrics) == {(CONTROL_TOPIC, "accepted", ""): 1, (CLICK_TOPIC, "accepted", ""): 1}
    state = state_of(fold)
    assert (len(state.window), state.revision) == (1, 2)
    assert state.consent == Consent(purpose_bits([3]), 0, is_stated=True, is_minor=False)


async def test_row_63_a_consent_withdrawn_takes_all_that_was_known_with_it() -> None:
    fold = folder()
    search = event_value(event_id="e0", event_type="search", items=[], search_term="brie")
    await fold.fold(record(0, search), record(1))
    fold.due.clear()

    await fold.fold(says(purposes=[2]))
    await fold.fold(record(2, event_value(event_id="e2")))

    state = state_of(fold)
    assert (len(state.window), len(state.profile), len(state.recent), state.orders.first_seen) == (0, 0, 0, 0)
    assert (state.revision, sorted(state.applied.values())) == (3, [0, 1])
    assert fold.due_users() == [(HOME, KEY)]
    assert counted(fold.metrics)["behaviour.click", "no_consent", "consent_refused"] == 1
    words = f"{text_hash('brie'):016x}".encode()
    assert OutRecord(words, None) in fold.sender.records(TEXTS_TOPIC)


async def test_row_62_garbage_in_place_of_a_consent_is_counted_and_ends_the_profile() -> None:
    fold = folder()
    await fold.fold(record(0))

    await fold.fold(says(purposes="CPXxRfAPXxRf"))

    assert counted(fold.metrics)[CONTROL_TOPIC, "normalised", "consent_unreadable"] == 1
    assert len(state_of(fold).window) == 0


async def test_row_62_an_expired_consent_ends_the_profile_with_the_next_event() -> None:
    fold = strict()
    await fold.fold(says(purposes=[3], expires_at_ms=NOW_MS + 5000))
    await fold.fold(record(0))

    later = event_value(event_id="e2", occurred_at_ms=NOW_MS + 6000)
    await fold.fold(record(1, later, timestamp=NOW_MS + 6000))

    assert fold.outcomes()["no_consent", "consent_expired"] == 1
    assert len(state_of(fold).window) == 0


async def test_an_expired_consent_of_a_quiet_user_ends_the_profile_once_it_is_withdrawn() -> None:
    fold = strict()
    await fold.fold(says(purposes=[3], expires_at_ms=NOW_MS + 5000))
    await fold.fold(record(0))

    await fold.folder.burial.bury([Grave(HOME, KEY, 2, is_known=True)], never)

    state = state_of(fold)
    assert (len(state.window), state.revision, state.consent.is_stated) == (0, 2, True)


@pytest.mark.parametrize("by", ["event", "statement"])
async def test_row_65_a_minor_is_not_profiled_from_then_on(by: str) -> None:
    fold = folder()
    await fold.fold(record(0))

    if by == "event":
        await fold.fold(record(1, event_value(event_id="e1m", minor=True)))
    else:
        await fold.fold(says(minor=True))
    await fold.fold(record(2, event_value(event_id="e2")))

    outcomes = counted(fold.metrics)
    assert outcomes["behaviour.click", "no_consent", "minor"] == (2 if by == "event" else 1)
    state = state_of(fold)
    assert (len(state.window), len(state.profile), state.consent.is_minor) == (0, 0, True)


async def test_who_came_of_age_is_profiled_anew() -> None:
    fold = folder()
    await fold.fold(says(0, minor=True))

    await fold.fold(says(1, minor=False))
    await fold.fold(record(0))

    assert len(state_of(fold).window) == 1


async def test_events_that_were_held_back_are_not_taken_in_later() -> None:
    fold = folder()
    await fold.fold(says(0, purposes=[]))
    await fold.fold(record(0))
    await fold.fold(says(1, purposes=EVERYTHING))

    await fold.fold(record(1, event_value(event_id="e2", items=[item("Brie", "Cheese")])))

    assert len(state_of(fold).window) == 1


async def test_a_statement_read_again_changes_nothing() -> None:
    fold = folder()
    await fold.fold(says(3, purposes=EVERYTHING))
    await fold.fold(says(4, purposes=[]))
    before = fold.store.get(HOME, KEY)

    await fold.fold(says(3, purposes=EVERYTHING))

    assert fold.outcomes()["replayed", ""] == 1
    assert fold.store.get(HOME, KEY) == before


async def test_a_consent_does_not_bring_an_erased_user_back_before_the_markers_end() -> None:
    fold = folder()
    await fold.fold(Record(CONTROL_TOPIC, HOME, 0))

    await fold.fold(says(1, purposes=EVERYTHING))
    assert fold.outcomes()["erased", ""] == 1

    await fold.fold(says(2, NOW_MS + ERASED_MARKER_MS, purposes=EVERYTHING))
    state = state_of(fold)
    assert (state.erased_at_ms, allows(state.consent.purposes, PROFILE)) == (0, True)


async def test_ads_shown_are_only_counted_with_a_consent_for_it() -> None:
    fold = folder()
    await fold.fold(says(purposes=[3, 4]))
    shown = event_value(event_type="ad_impression", ad={"cid": "c1"})

    await fold.fold(record(0, shown, topic=AD_TOPIC))

    assert (state_of(fold).revision, len(state_of(fold).exposures)) == (2, 0)


# -- ads ---------------------------------------------------------------------------------------------------------


def test_without_a_consent_for_personalised_ads_no_campaign_wins() -> None:
    decision = decided(campaign("a"), campaign("b"), of=user(allows_ads=False)).decision

    assert reasons(decision) == {"a": ("lost", "no_consent", 508), "b": ("lost", "no_consent", 508)}
    assert decision.bid is None
