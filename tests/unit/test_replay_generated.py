"""The generated browsing around recorded purchases."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from stream.decode import decode_event
from stream.events import Change
from stream.replay.generated import MAX_LEAD_MS, BrowsePolicy, with_browsing
from stream.replay.timed import TimedEvent, timed

NOON_MS = 1_500_000_000_000
MINUTE_MS = 60_000
ALWAYS = BrowsePolicy(search_ratio=0.5, abandoned_ratio=1.0, dismiss_ratio=1.0)


def an_item(number: int) -> dict[str, Any]:
    return {"item_id": str(number), "item_name": f"cheese {number}", "item_category2": "cheese"}


SHELF = {"cheese": [an_item(number) for number in range(10)]}


def a_basket(name: str, at_ms: int = NOON_MS, item_count: int = 2) -> TimedEvent:
    return timed(
        {
            "event_id": f"basket:{name}",
            "event_type": "purchase",
            "user_id": "7",
            "occurred_at_ms": at_ms,
            "items": [{**an_item(number), "price": 1.5, "quantity": 3} for number in range(item_count)],
        }
    )


def an_impression(number: int, at_ms: int = NOON_MS) -> TimedEvent:
    return timed(
        {
            "event_id": f"imp:{number}",
            "event_type": "ad_impression",
            "user_id": "7",
            "occurred_at_ms": at_ms,
            "ad": {"cid": "3", "crid": "44"},
        }
    )


def generated(events: list[TimedEvent], policy: BrowsePolicy = ALWAYS) -> list[TimedEvent]:
    return [event for event in with_browsing(events, SHELF, policy) if event.body.get("generated")]


recorded = st.lists(
    st.tuples(st.sampled_from(["basket", "ad"]), st.integers(0, 3 * 3_600_000)), max_size=30
).map(
    lambda drawn: [
        a_basket(str(number), NOON_MS + delay) if kind == "basket" else an_impression(number, NOON_MS + delay)
        for number, (kind, delay) in enumerate(sorted(drawn, key=lambda pair: pair[1]))
    ]
)


@given(recorded)
def test_everything_comes_in_time_order(events: list[TimedEvent]) -> None:
    given_out = list(with_browsing(events, SHELF, ALWAYS))

    assert all(earlier.at_ms <= later.at_ms for earlier, later in pairwise(given_out))


@given(recorded)
def test_recorded_events_pass_unchanged_and_in_their_order(events: list[TimedEvent]) -> None:
    given_out = list(with_browsing(events, SHELF, ALWAYS))

    assert [event for event in given_out if "generated" not in event.body] == events


@given(recorded)
def test_ids_are_distinct(events: list[TimedEvent]) -> None:
    ids = Counter(event.body["event_id"] for event in with_browsing(events, SHELF, ALWAYS))

    assert set(ids.values()) <= {1}


@given(recorded)
def test_the_decoder_takes_every_generated_event_as_it_is(events: list[TimedEvent]) -> None:
    for event in generated(events):
        decoded = decode_event(orjson.dumps(event.body), event.at_ms)

        assert decoded.change is Change.NONE
        assert decoded.event.generated


def test_an_item_is_found_viewed_clicked_and_put_into_the_cart_before_the_basket() -> None:
    policy = BrowsePolicy(abandoned_ratio=0.0)

    steps = generated([a_basket("a", item_count=1)], policy)

    assert steps[0].body["event_type"] in {"search", "view_item_list"}
    assert [event.body["event_type"] for event in steps[1:]] == ["view_item", "click", "add_to_cart"]
    assert [event.topic for event in steps] == [
        "behaviour.browse",
        "behaviour.browse",
        "behaviour.click",
        "behaviour.browse",
    ]
    assert steps[0].at_ms > NOON_MS - MAX_LEAD_MS
    assert steps[-1].at_ms < NOON_MS
    assert {event.body["session_id"] for event in steps} == {"session:basket:a"}
    assert {event.body["user_id"] for event in steps} == {"7"}


def test_the_cart_has_the_quantity_and_the_view_has_not() -> None:
    _, view, _, cart = generated([a_basket("a", item_count=1)], BrowsePolicy(abandoned_ratio=0.0))

    assert view.body["items"] == [{**an_item(0), "price": 1.5}]
    assert cart.body["items"] == [{**an_item(0), "price": 1.5, "quantity": 3}]


def test_a_list_shows_the_item_among_others_of_its_category() -> None:
    found = generated([a_basket("a", item_count=1)], BrowsePolicy(search_ratio=0.0, abandoned_ratio=0.0))[0]

    listed = found.body["items"]
    assert found.body["event_type"] == "view_item_list"
    assert "0" in {item["item_id"] for item in listed}
    assert 3 <= len(listed) <= 4  # one of the others may be drawn as the item itself
    assert [item["index"] for item in listed] == list(range(len(listed)))


def test_a_search_has_the_name_of_the_item() -> None:
    found = generated([a_basket("a", item_count=1)], BrowsePolicy(search_ratio=1.0, abandoned_ratio=0.0))[0]

    assert found.body["event_type"] == "search"
    assert found.body["search_term"] == "cheese 0"


def test_an_item_without_a_text_is_met_in_a_list() -> None:
    bare = timed({**a_basket("a").body, "items": [{"item_id": "5", "price": 2.0, "quantity": 1}]})

    found = generated([bare], BrowsePolicy(search_ratio=1.0, abandoned_ratio=1.0))[0]

    assert found.body["items"] == [{"item_id": "5", "price": 2.0, "index": 0}]


def test_an_abandoned_view_is_of_the_same_category_and_leads_to_nothing() -> None:
    steps = generated([a_basket("a", item_count=1)], BrowsePolicy(abandoned_ratio=1.0))

    views = [event for event in steps if event.body["event_type"] == "view_item"]
    assert len(steps) == 5
    assert len(views) == 2
    assert {item["item_category2"] for view in views for item in view.body["items"]} == {"cheese"}


def test_only_a_few_items_of_a_large_basket_were_looked_at() -> None:
    steps = generated([a_basket("a", item_count=60)], BrowsePolicy(items_per_basket=3, abandoned_ratio=0.0))

    assert Counter(event.body["event_type"] for event in steps)["add_to_cart"] == 3


def test_every_impression_is_dismissed_at_ratio_one_and_none_at_zero() -> None:
    impressions = [an_impression(number, NOON_MS) for number in range(20)]
    later = a_basket("a", NOON_MS + 24 * 60 * MINUTE_MS)

    all_dismissed = generated([*impressions, later], BrowsePolicy(items_per_basket=0, dismiss_ratio=1.0))
    none_dismissed = generated([*impressions, later], BrowsePolicy(items_per_basket=0, dismiss_ratio=0.0))

    assert Counter(event.body["event_type"] for event in all_dismissed) == {"ad_dismiss": 20}
    assert all(event.topic == "behaviour.ad" for event in all_dismissed)
    assert all(event.body["ad"] == {"cid": "3", "crid": "44"} for event in all_dismissed)
    assert all(event.at_ms >= NOON_MS + 10 * MINUTE_MS for event in all_dismissed)
    assert none_dismissed == []


def test_nothing_is_told_after_the_last_recorded_event() -> None:
    assert generated([an_impression(1)], BrowsePolicy(dismiss_ratio=1.0)) == []


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    events = [a_basket("a"), a_basket("b", NOON_MS + MINUTE_MS)]

    once, again = generated(events), generated(events)
    other = generated(events, BrowsePolicy(seed=1))

    assert once == again
    assert {event.body["event_id"] for event in once}.isdisjoint(event.body["event_id"] for event in other)


def test_what_is_made_up_for_a_basket_does_not_depend_on_the_others() -> None:
    alone = generated([a_basket("b", NOON_MS + MINUTE_MS)])
    together = generated([a_basket("a"), a_basket("b", NOON_MS + MINUTE_MS)])

    assert alone == [event for event in together if event.body["session_id"] == "session:basket:b"]


def test_an_endless_input_is_read_only_as_far_ahead_as_the_longest_lead() -> None:
    read: list[int] = []

    def endless() -> Iterator[TimedEvent]:
        number = 0
        while True:
            read.append(NOON_MS + number * MINUTE_MS)
            yield a_basket(str(number), read[-1])
            number += 1

    given_out = list(islice(with_browsing(endless(), SHELF, ALWAYS), 500))

    assert read[-1] - given_out[-1].at_ms <= MAX_LEAD_MS + MINUTE_MS


def test_nothing_is_made_up_around_a_redemption() -> None:
    click = timed({**an_impression(1).body, "event_id": "red:1", "event_type": "ad_click"})

    assert list(with_browsing([click], SHELF, ALWAYS)) == [click]
