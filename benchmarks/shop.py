"""The benchmark's input: behaviour events of a made-up shop, all of one size, spread over 30 days."""

import random
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from stream.events import AD_TOPIC, BROWSE_TOPIC, CLICK_TOPIC, PURCHASE_TOPIC

EVENT_BYTES: Final = 339
USERS: Final = 5_000
#: The first event; record timestamps and event times run from here over the span.
START_MS: Final = 1_760_000_000_000
SPAN_MS: Final = 30 * 86_400_000

_ITEMS: Final = 5_000
_TOPIC_WEIGHTS: Final = {CLICK_TOPIC: 40, BROWSE_TOPIC: 40, PURCHASE_TOPIC: 5, AD_TOPIC: 15}
#: What happens on a topic, by weight.
_TYPE_WEIGHTS: Final[dict[str, dict[str, int]]] = {
    CLICK_TOPIC: {"click": 1},
    BROWSE_TOPIC: {"view_item": 75, "add_to_cart": 15, "search": 5, "remove_from_cart": 5},
    PURCHASE_TOPIC: {"purchase": 1},
    AD_TOPIC: {"ad_impression": 90, "ad_click": 9, "ad_dismiss": 1},
}
_WORDS: Final = (
    "almond", "apple", "bakery", "basil", "berry", "bread", "butter", "cheese", "cherry", "cocoa", "coffee", "cream",
    "dairy", "fresh", "frozen", "garden", "ginger", "grain", "herbal", "honey", "lemon", "mango", "maple", "meadow",
    "olive", "orange", "organic", "pasta", "peach", "pepper", "rice", "roasted", "salted", "smoked", "tea", "vanilla",
)  # fmt: skip
#: Interest categories, unless a model's are given.
CATEGORIES: Final = tuple(f"{_WORDS[number % len(_WORDS)]} {number}" for number in range(300))


class ShopRecord(NamedTuple):
    """One record to produce."""

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int


def shop_records(count: int, categories: Sequence[str] = CATEGORIES, seed: int = 7) -> Iterator[ShopRecord]:
    """That many records in the order of their time; the same for the same arguments, each ``EVENT_BYTES`` long.

    Args:
        count: How many; the span is the same for any count.
        categories: Names of the second category level, which is the interest; at most 40 characters each.
        seed: Of everything that is drawn.
    """
    rng = random.Random(seed)
    catalogue = [_item(rng, number, categories[number % len(categories)]) for number in range(_ITEMS)]
    topics = rng.choices([*_TOPIC_WEIGHTS], [*_TOPIC_WEIGHTS.values()], k=count)
    for number, topic in enumerate(topics):
        (event_type,) = rng.choices([*_TYPE_WEIGHTS[topic]], [*_TYPE_WEIGHTS[topic].values()])
        user = f"user-{rng.randrange(USERS):06d}"
        occurred_at_ms = START_MS + number * SPAN_MS // count
        event: dict[str, Any] = {
            "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "event_type": event_type,
            "user_id": user,
            "occurred_at_ms": occurred_at_ms,
            **_details(rng, event_type, catalogue),
        }
        yield ShopRecord(topic, user.encode(), _sized(event), occurred_at_ms)


def _details(rng: random.Random, event_type: str, catalogue: list[dict[str, Any]]) -> dict[str, Any]:
    if event_type == "search":
        return {"search_term": " ".join(rng.sample(_WORDS, 2))}
    item = catalogue[
        int(_ITEMS * rng.random() ** 3)
    ]  # the first eighth of the catalogue gets half of the acts
    if event_type == "ad_impression":
        return {"ad": _ad(rng, item)}
    if event_type.startswith("ad_"):
        return {"ad": _ad(rng, item), "items": [_short(item)]}
    if event_type == "purchase":
        return {"items": [{**_short(item), "quantity": rng.randint(1, 4)}], "currency": "EUR"}
    return {"items": [item]}


def _ad(rng: random.Random, item: dict[str, Any]) -> dict[str, Any]:
    return {"cid": f"campaign-{rng.randrange(30)}", "crid": item["item_id"]}


def _item(rng: random.Random, number: int, category: str) -> dict[str, Any]:
    return {
        "item_id": f"i{number:05d}",
        "item_name": " ".join(rng.sample(_WORDS, 2)),
        "item_category": _WORDS[number % 12],
        "item_category2": category,
        "price": round(rng.uniform(0.5, 40.0), 2),
    }


def _short(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("item_id", "item_name", "item_category2", "price")}


def _sized(event: dict[str, Any]) -> bytes:
    """The event as JSON, brought to its size by the length of the session id."""
    free = EVENT_BYTES - len(orjson.dumps({**event, "session_id": ""}))
    if free < 1:
        msg = f"an event has {1 - free} bytes more than {EVENT_BYTES}: give shorter categories"
        raise ValueError(msg)
    session = f"{event['user_id']}-{event['occurred_at_ms']:x}".ljust(free, "0")
    return orjson.dumps({**event, "session_id": session[:free]})
