"""One event into one user's state, against a fold that simply looks at all events at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.decode import Decoded, decode_event
from stream.errors import RejectionError
from stream.events import AD_TOPIC, BROWSE_TOPIC, CLICK_TOPIC, EVENT_TYPES, Outcome, Reason
from stream.exposure import campaign_hash
from stream.fold import ERASED_MARKER_MS, erase_user, event_hash, fold_event, source_key
from stream.profile import ACTION_WEIGHTS
from stream.render import category_hash, text_hash
from stream.state import UserState, encode_state
from stream.window import Behaviour, WindowPolicy
from tests.builders import NOW_MS, days, decoded, event_value, item, received

HOUR_MS = 3_600_000
POLICY = WindowPolicy()
TEA_TEXT = "green tea, tea, drinks"


def fold(state: UserState, offset: int = 0, record_ms: int = NOW_MS, **changes: Any) -> Outcome:
    """Fold an event; ``topic``, ``partition`` and ``body`` are the record's, the rest are fields."""
    place = {name: changes.pop(name) for name in ("topic", "partition", "body") if name in changes}
    event_id = changes.get("event_id", "e1")
    return fold_event(
        state,
        decoded(record_ms, **changes),
        received(offset, record_ms, event_id=event_id, **place),
        POLICY,
        {},
    )


def window_texts(state: UserState) -> list[int]:
    return list(state.window.texts)


# -- what an event does ------------------------------------------------------------------------------------------


def test_an_accepted_event_moves_revision_offset_and_clock() -> None:
    state = UserState()

    assert fold(state, offset=7, topic=BROWSE_TOPIC, partition=3) is Outcome.ACCEPTED
    assert (state.revision, state.applied, state.folded_at_ms) == (1, {source_key(1, 3, 0): 7}, NOW_MS)


def test_a_click_enters_window_and_profile_and_its_text_is_given_out() -> None:
    state, texts = UserState(), dict[int, str]()

    fold_event(state, decoded(), received(), POLICY, texts)

    assert texts == {text_hash(TEA_TEXT): TEA_TEXT}
    assert state.window.behaviours() == [
        Behaviour(NOW_MS - 1000, b"e1", 0, 0, category_hash("tea"), text_hash(TEA_TEXT))
    ]
    assert list(state.profile.categories) == [category_hash("tea")]


def test_a_basket_counts_each_category_once_and_each_item_in_the_window() -> None:
    state = UserState()

    basket = [item("Brie", "Cheese"), item("Gouda", "Cheese"), item("Green Tea")]
    fold(state, event_type="purchase", items=basket)

    assert [one.position for one in state.window.behaviours()] == [0, 1, 2]
    assert list(state.profile.categories) == [category_hash("cheese"), category_hash("tea")]
    assert list(state.profile.purchases) == [1, 1]
    assert (state.orders.count, state.orders.last) == (1, NOW_MS // 1000 - 1)


@pytest.mark.parametrize("event_type", ["view_item_list", "ad_impression"])
def test_what_was_only_shown_enters_neither_window_nor_profile(event_type: str) -> None:
    state, texts = UserState(), dict[int, str]()

    fold_event(state, decoded(event_type=event_type), received(), POLICY, texts)

    assert (len(state.window), len(state.profile), texts, state.revision) == (0, 0, {}, 1)


def test_an_item_that_says_nothing_keeps_its_place_in_the_event() -> None:
    state = UserState()

    fold(state, items=[{"item_id": "p0"}, item("Brie", "Cheese")])

    assert [one.position for one in state.window.behaviours()] == [1]


def test_an_item_without_category_enters_the_window_only() -> None:
    state = UserState()

    fold(state, items=[{"item_id": "p1", "item_name": "Tea"}])

    assert (len(state.window), len(state.profile)) == (1, 0)


def test_ad_events_are_counted_by_campaign() -> None:
    state = UserState()
    for offset, event_type in enumerate(["ad_impression", "ad_impression", "ad_click", "ad_dismiss"]):
        event_id = f"e{offset}"
        fold(
            state,
            offset,
            topic=AD_TOPIC,
            event_type=event_type,
            event_id=event_id,
            ad={"cid": "c1"},
            items=[],
        )

    exposures = state.exposures
    assert (exposures.count_since(campaign_hash("c1"), 0), exposures.impressions, exposures.clicks) == (
        2,
        2,
        1,
    )


def test_exposures_that_no_cap_looks_at_go_with_the_next_ad_event() -> None:
    state = UserState()
    for offset, later in enumerate((0, 31)):
        record_ms = NOW_MS + days(later)
        fold(
            state, offset, record_ms, topic=AD_TOPIC, event_type="ad_impression", event_id=f"e{offset}",
            ad={"cid": "c1"}, occurred_at_ms=record_ms, items=[],
        )  # fmt: skip

    assert (len(state.exposures), state.exposures.impressions) == (1, 2)


def test_ids_are_forgotten_once_their_events_would_be_late() -> None:
    state = UserState()
    fold(state, 0, occurred_at_ms=NOW_MS)
    fold(state, 1, NOW_MS + POLICY.lateness_grace_ms, event_id="e2", occurred_at_ms=NOW_MS + 1000)
    both = len(state.recent)
    fold(state, 2, NOW_MS + POLICY.lateness_grace_ms + 1, event_id="e3", occurred_at_ms=NOW_MS + 1000)

    assert (both, len(state.recent)) == (2, 2)


def test_the_first_event_of_any_type_is_remembered() -> None:
    state = UserState()
    fold(state, 0, event_type="view_item_list")
    fold(state, 1, event_type="purchase", event_id="e2", occurred_at_ms=NOW_MS)

    assert (state.orders.first_seen, state.orders.last) == (NOW_MS // 1000 - 1, NOW_MS // 1000)


def test_an_ad_event_without_an_ad_counts_no_exposure() -> None:
    state = UserState()

    assert fold(state, event_type="ad_click", items=[]) is Outcome.ACCEPTED
    assert (len(state.exposures), state.exposures.clicks) == (0, 0)


# -- what changes nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [6, 7])
def test_a_record_at_or_below_the_applied_offset_is_replayed(offset: int) -> None:
    state = UserState()
    fold(state, offset=7)
    before = encode_state(state)

    assert fold(state, offset=offset, event_id="e2") is Outcome.REPLAYED
    assert encode_state(state) == before


@pytest.mark.parametrize("place", [{"topic": BROWSE_TOPIC}, {"partition": 1}])
def test_offsets_of_another_log_say_nothing_about_this_one(place: dict[str, Any]) -> None:
    state = UserState()
    fold(state, offset=7)

    assert fold(state, offset=3, event_id="e2", **place) is Outcome.ACCEPTED


def test_a_new_epoch_counts_offsets_anew() -> None:
    assert (
        len(
            {
                source_key(topic, partition, epoch)
                for topic in (0, 4)
                for partition in (0, 4095)
                for epoch in (0, 65_535)
            }
        )
        == 8
    )


def test_the_same_event_again_is_a_duplicate() -> None:
    state = UserState()
    fold(state, offset=1)
    before = encode_state(state)

    assert fold(state, offset=2) is Outcome.DUPLICATE
    assert encode_state(state) == before


def test_the_same_id_with_another_body_is_a_conflict_and_the_first_wins() -> None:
    state = UserState()
    fold(state, offset=1)
    before = encode_state(state)

    with pytest.raises(RejectionError, match="'e1' came before with another body; the first wins") as caught:
        fold(state, offset=2, body=b"another")

    assert caught.value.reason is Reason.ID_CONFLICT
    assert encode_state(state) == before


def test_the_same_id_of_another_source_is_another_event() -> None:
    assert event_hash("shop", b"1") != event_hash("app", b"1")


@pytest.mark.parametrize(
    ("late_by_ms", "outcome"),
    [(POLICY.lateness_grace_ms, Outcome.ACCEPTED), (POLICY.lateness_grace_ms + 1, Outcome.LATE)],
)
def test_an_event_may_be_late_by_the_grace_and_no_more(late_by_ms: int, outcome: Outcome) -> None:
    state = UserState()

    assert fold(state, occurred_at_ms=NOW_MS - late_by_ms) is outcome
    assert state.revision == (outcome is Outcome.ACCEPTED)


def test_a_topic_produced_again_changes_nothing_within_the_grace_nor_beyond() -> None:
    state = UserState()
    fold(state, offset=1)
    before = encode_state(state)

    again = [
        fold(state, offset, NOW_MS + delay) for offset, delay in enumerate((1000, days(1) - 1000, days(2)), 2)
    ]

    assert again == [Outcome.DUPLICATE, Outcome.DUPLICATE, Outcome.LATE]
    assert encode_state(state) == before


def test_a_thousand_events_at_one_moment_leave_the_last_by_id() -> None:
    state = UserState()
    for offset in range(1000):
        fold(state, offset, event_id=f"{(offset * 7) % 1000:03d}")

    assert [one.event_id for one in state.window.behaviours()] == [
        b"%03d" % number for number in range(936, 1000)
    ]


# -- erasure -----------------------------------------------------------------------------------------------------


def erased_state() -> UserState:
    state = UserState()
    fold(state, offset=7)
    return erase_user(state, received(4, topic="users.control"))


def test_an_erased_user_leaves_a_marker_with_offsets_and_nothing_else() -> None:
    expected = UserState()
    expected.revision = 2
    expected.applied = {source_key(0, 0, 0): 7, source_key(4, 0, 0): 4}
    expected.folded_at_ms = expected.erased_at_ms = NOW_MS

    assert encode_state(erased_state()) == encode_state(expected)


def test_events_of_an_erased_user_are_dropped_while_inputs_are_kept() -> None:
    state = erased_state()
    before = encode_state(state)

    assert fold(state, 8, NOW_MS + ERASED_MARKER_MS - 1, event_id="e2") is Outcome.ERASED
    assert encode_state(state) == before


def test_after_that_the_user_is_a_new_one() -> None:
    state = erased_state()
    record_ms = NOW_MS + ERASED_MARKER_MS

    assert fold(state, 8, record_ms, event_id="e2", occurred_at_ms=record_ms) is Outcome.ACCEPTED
    assert (state.erased_at_ms, state.revision, len(state.window)) == (0, 3, 1)


def test_a_late_event_after_that_changes_nothing_not_even_the_marker() -> None:
    state = erased_state()
    before = encode_state(state)

    assert fold(state, 8, NOW_MS + ERASED_MARKER_MS + days(2), event_id="e2") is Outcome.LATE
    assert encode_state(state) == before


# -- any order, with repeats -------------------------------------------------------------------------------------

#: A span below the grace, so that behaviours leave the window while their ids are still remembered.
SHORT = WindowPolicy(size=5, span_ms=6 * HOUR_MS, lateness_grace_ms=24 * HOUR_MS)
NAMES = ("Green Tea", "Black Tea", "Brie", "Gouda")


class Sent(NamedTuple):
    """An event as it stands in one of three logs."""

    topic: str
    event_id: str
    event_type: str
    names: tuple[str, ...]
    occurred_at_ms: int
    record_ms: int

    def value(self) -> bytes:
        return event_value(
            event_id=self.event_id,
            event_type=self.event_type,
            occurred_at_ms=self.occurred_at_ms,
            items=[item(name, "Cheese" if name in ("Brie", "Gouda") else "Tea") for name in self.names],
            ad={"cid": "c1"} if self.event_type.startswith("ad_") else ...,
        )


@st.composite
def sent_events(draw: st.DrawFn) -> list[Sent]:
    """Events of 24 hours with record times that come a while after them, by topic in order of time."""
    events = []
    for number in range(draw(st.integers(0, 12))):
        occurred = draw(st.integers(0, 24 * 4))
        recorded = draw(st.integers(occurred, 24 * 4))
        events.append(
            Sent(
                draw(st.sampled_from([CLICK_TOPIC, BROWSE_TOPIC, AD_TOPIC])),
                f"e{number}",
                draw(st.sampled_from(EVENT_TYPES)),
                tuple(draw(st.lists(st.sampled_from(NAMES), max_size=3))),
                NOW_MS + occurred * HOUR_MS // 4,
                NOW_MS + recorded * HOUR_MS // 4,
            )
        )
    return events


def folded(arrivals: Sequence[Sent]) -> UserState:
    """The state after these, each at the next offset of its topic."""
    state, offsets = UserState(), dict[str, int]()
    for sent in arrivals:
        offsets[sent.topic] = offsets.get(sent.topic, -1) + 1
        fold_event(state, *parts(sent, offsets[sent.topic]), SHORT, {})
    return state


def parts(sent: Sent, offset: int) -> tuple[Decoded, Any]:
    where = received(
        offset, sent.record_ms, event_id=sent.event_id, topic=sent.topic, body=sent.event_id.encode()
    )
    return decode_event(sent.value(), sent.record_ms), where


def expected_window(events: Sequence[Sent]) -> list[tuple[int, bytes, int]]:
    now = max((sent.record_ms for sent in events), default=0)
    return sorted(
        (sent.occurred_at_ms, sent.event_id.encode(), position)
        for sent in events
        if ACTION_WEIGHTS[sent.event_type] and sent.occurred_at_ms >= now - SHORT.span_ms
        for position in range(len(sent.names))
    )[-SHORT.size :]


def contents(state: UserState) -> dict[str, Any]:
    """All that must not depend on the order of arrival, but for the decayed weights."""
    profile, orders = state.profile, state.orders
    columns = (profile.categories, profile.reference, profile.first, profile.last, profile.purchases)
    return {
        "window": state.window.behaviours(),
        "profile": sorted(zip(*columns, strict=True)),
        "orders": (orders.count, orders.last, orders.first_seen, orders.reference),
        "ids": sorted(zip(state.recent.ids, state.recent.bodies, state.recent.occurred, strict=True)),
        "exposures": (state.exposures.impressions, state.exposures.clicks, sorted(state.exposures.shown)),
        "clock": (state.revision, state.folded_at_ms),
    }


def weights(state: UserState) -> list[float]:
    """The decayed weights, by category, then those of the orders."""
    profile = state.profile
    by_category = sorted((category, row) for row, category in enumerate(profile.categories))
    rows = [profile.weights[row * 6 : row * 6 + 6] for _, row in by_category]
    return [weight for row in (*rows, state.orders.weights) for weight in row]


@given(data=st.data(), events=sent_events())
def test_any_order_with_repeats_leaves_what_all_events_at_once_leave(
    data: st.DataObject, events: list[Sent]
) -> None:
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=6)) if events else []
    arrived = data.draw(st.permutations([*events, *repeats]))

    state = folded(arrived)

    assert [one[:3] for one in state.window.behaviours()] == expected_window(events)
    purchases = [sent.occurred_at_ms // 1000 for sent in events if sent.event_type == "purchase"]
    assert (state.orders.count, state.orders.last) == (len(purchases), max(purchases, default=0))
    assert (state.revision, len(state.recent)) == (len(events), len(events))
    assert state.exposures.impressions == sum(sent.event_type == "ad_impression" for sent in events)
    assert state.exposures.clicks == sum(sent.event_type == "ad_click" for sent in events)
    in_order = folded(events)
    assert contents(state) == contents(in_order)
    assert weights(state) == pytest.approx(weights(in_order), abs=1e-5)  # as far as float32 is exact


@given(data=st.data(), events=sent_events())
def test_a_log_read_again_from_any_earlier_offset_changes_nothing(
    data: st.DataObject, events: list[Sent]
) -> None:
    arrivals = data.draw(st.permutations([*events, *events]))
    state, logs = UserState(), dict[str, list[Sent]]()
    for sent in arrivals:
        log = logs.setdefault(sent.topic, [])
        fold_event(state, *parts(sent, len(log)), SHORT, {})
        log.append(sent)
    before = encode_state(state)

    for log in logs.values():
        start = data.draw(st.integers(0, len(log)))
        outcomes = {
            fold_event(state, *parts(sent, offset), SHORT, {})
            for offset, sent in enumerate(log[start:], start)
        }
        assert outcomes <= {Outcome.REPLAYED, Outcome.DUPLICATE}

    assert encode_state(state) == before
