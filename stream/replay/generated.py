"""Click and browse events around recorded purchases, made up and marked so: ``"generated": true`` on every one.

No data set with real clicks and item texts could be had, so these exercise the stream; nothing about accuracy may be
claimed from them. They are a function of the seed and of the recorded event alone: a second run, another time range
or another choice of households gives the same events with the same ids.

Around a few items of each basket: a list view or a search, then view, click and add to cart, seconds to minutes
before the basket; some views of other products of the same category that were left; and a few dismissed ads.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from stream.hashing import hash64
from stream.replay.timed import TimedEvent, timed

#: ``source`` of every generated event.
SOURCE: Final = "generated"
#: No generated event lies further before its basket; the look-ahead of the merge.
MAX_LEAD_MS: Final = 20 * 60_000

#: Ranges in ms, from which each gap is drawn evenly. They add up to less than MAX_LEAD_MS.
_CART_LEAD_MS: Final = (10_000, 15 * 60_000)
_CLICK_TO_CART_MS: Final = (2_000, 40_000)
_VIEW_TO_CLICK_MS: Final = (3_000, 90_000)
_FOUND_TO_VIEW_MS: Final = (2_000, 60_000)
_ABANDONED_LEAD_MS: Final = (30_000, MAX_LEAD_MS)
_DISMISS_DELAY_MS: Final = (10 * 60_000, 6 * 3_600_000)
_LISTED_ITEMS: Final = 4
_HASH_RANGE: Final = 2.0**64

ItemsByCategory = Mapping[str, Sequence[Mapping[str, str]]]


@dataclass(frozen=True)
class BrowsePolicy:
    """How much is made up; ratios are in [0, 1]."""

    seed: int = 0
    #: At most so many items of a basket were looked at before.
    items_per_basket: int = 3
    #: Of these items, the share that was searched for; the others were met in a list.
    search_ratio: float = 0.3
    #: Of these items, the share for which another product was viewed and left.
    abandoned_ratio: float = 0.4
    #: Of the impressions, the share that was dismissed.
    dismiss_ratio: float = 0.02


def with_browsing(
    events: Iterable[TimedEvent], items_by_category: ItemsByCategory, policy: BrowsePolicy
) -> Iterator[TimedEvent]:
    """The recorded events with the generated ones, all in time order.

    Reads ahead until ``MAX_LEAD_MS`` of event time beyond what it gives; holds these events and the dismissals that
    are still to come. What would lie after the last recorded event is left out.

    Args:
        events: In time order.
        items_by_category: What an abandoned view or a list may show, by ``item_category2``.
        policy: How much.
    """
    waiting: list[tuple[int, int, TimedEvent]] = []
    sequence = 0
    latest_ms = 0
    for event in events:
        latest_ms = event.at_ms
        for each in (event, *_around(event, items_by_category, policy)):
            heappush(waiting, (each.at_ms, sequence, each))  # equal times keep their order
            sequence += 1
        while waiting and waiting[0][0] < latest_ms - MAX_LEAD_MS:
            yield heappop(waiting)[2]
    while waiting and waiting[0][0] <= latest_ms:
        yield heappop(waiting)[2]


def _around(event: TimedEvent, items_by_category: ItemsByCategory, policy: BrowsePolicy) -> list[TimedEvent]:
    event_type = event.body["event_type"]
    if event_type == "purchase":
        return _before_basket(event, items_by_category, policy)
    if event_type == "ad_impression":
        return _dismissal(event, policy)
    return []


def _before_basket(
    basket: TimedEvent, items_by_category: ItemsByCategory, policy: BrowsePolicy
) -> list[TimedEvent]:
    random = Random(_hash(basket, policy))
    bought = basket.body["items"]
    bodies: list[dict[str, Any]] = []
    for item in random.sample(bought, min(policy.items_per_basket, len(bought))):
        siblings = items_by_category.get(item.get("item_category2", ""), ())
        bodies += _visit(item, siblings, basket.at_ms, random, policy)
        if siblings and random.random() < policy.abandoned_ratio:
            other = random.choice(siblings)
            at_ms = basket.at_ms - random.randint(*_ABANDONED_LEAD_MS)
            bodies.append(_act("view_item", at_ms, [dict(other)], dwell_ms=random.randint(500, 8_000)))
    return [_marked(body, basket, number, policy) for number, body in enumerate(bodies)]


def _visit(
    item: Mapping[str, Any],
    siblings: Sequence[Mapping[str, str]],
    basket_ms: int,
    random: Random,
    policy: BrowsePolicy,
) -> Iterator[dict[str, Any]]:
    """Found, viewed, clicked, put into the cart: one item on its way into the basket."""
    cart_ms = basket_ms - random.randint(*_CART_LEAD_MS)
    click_ms = cart_ms - random.randint(*_CLICK_TO_CART_MS)
    view_ms = click_ms - random.randint(*_VIEW_TO_CLICK_MS)
    found_ms = view_ms - random.randint(*_FOUND_TO_VIEW_MS)
    shown = {name: value for name, value in item.items() if name != "quantity"}
    if "item_name" in item and random.random() < policy.search_ratio:
        yield _act("search", found_ms, [], search_term=item["item_name"])
    else:
        yield _act("view_item_list", found_ms, _list_around(shown, siblings, random))
    yield _act("view_item", view_ms, [shown], dwell_ms=click_ms - view_ms)
    yield _act("click", click_ms, [shown])
    yield _act("add_to_cart", cart_ms, [dict(item)])


def _list_around(
    shown: Mapping[str, Any], siblings: Sequence[Mapping[str, str]], random: Random
) -> list[dict[str, Any]]:
    others = random.sample(siblings, min(_LISTED_ITEMS - 1, len(siblings)))
    listed = [shown, *(other for other in others if other["item_id"] != shown["item_id"])]
    random.shuffle(listed)
    return [{**item, "index": index} for index, item in enumerate(listed)]


def _dismissal(impression: TimedEvent, policy: BrowsePolicy) -> list[TimedEvent]:
    drawn = _hash(impression, policy)
    if drawn >= policy.dismiss_ratio * _HASH_RANGE:
        return []
    at_ms = impression.at_ms + Random(drawn).randint(*_DISMISS_DELAY_MS)
    body = {"event_type": "ad_dismiss", "occurred_at_ms": at_ms, "ad": impression.body["ad"]}
    return [_marked(body, impression, 0, policy)]


def _act(event_type: str, at_ms: int, items: list[Any], **fields: object) -> dict[str, Any]:
    return {"event_type": event_type, "occurred_at_ms": at_ms, "items": items, **fields}


def _marked(body: dict[str, Any], origin: TimedEvent, number: int, policy: BrowsePolicy) -> TimedEvent:
    origin_id = origin.body["event_id"]
    return timed(
        {
            "event_id": f"gen:{policy.seed}:{origin_id}:{number}",
            "source": SOURCE,
            "user_id": origin.body["user_id"],
            "session_id": f"session:{origin_id}",
            "generated": True,
            **body,
        }
    )


def _hash(event: TimedEvent, policy: BrowsePolicy) -> int:
    return hash64(f"{policy.seed}:{event.body['event_id']}".encode())
