"""A small made shop: orders of some users over some weeks as a CSV, with its mapping, and as an archive."""

import csv
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from stream.archive.description import Description, InterestChoice, write_description
from stream.archive.files import ArchiveWriter, Place
from stream.replay.timed import TOPIC_BY_TYPE

FIRST_DAY: Final = datetime(2025, 1, 6, tzinfo=UTC)
DAY_MS: Final = 86_400_000
FIRST_MS: Final = int(FIRST_DAY.timestamp()) * 1000
COLUMNS: Final = (
    "order_no",
    "customer",
    "ordered_at",
    "sku",
    "title",
    "department",
    "category",
    "price",
    "pieces",
)
MAPPING: Final = """\
name = "A made shop"
source = "made-shop"

[columns]
user_id = "customer"
occurred_at = "ordered_at"
transaction_id = "order_no"
item_id = "sku"
item_name = "title"
item_categories = ["department", "category"]
price = "price"
quantity = "pieces"

[constants]
event_type = "purchase"
currency = "EUR"

[times]
zone = "UTC"
"""


def order_rows(users: int, weeks: int, categories: int, seed: int = 7) -> list[tuple[str, ...]]:
    """Lines of orders; each user has three favourite categories and orders about every nine days."""
    draw = random.Random(seed)
    rows: list[tuple[str, ...]] = []
    for user in range(users):
        favourites = draw.sample(range(categories), 3)
        moment = FIRST_DAY + timedelta(days=draw.uniform(0, 9))
        while moment < FIRST_DAY + timedelta(weeks=weeks):
            order = f"o{len(rows)}"
            for _ in range(draw.randint(1, 4)):
                category = draw.choice(favourites) if draw.random() < 0.8 else draw.randrange(categories)
                kind = draw.randrange(3)
                rows.append(
                    (
                        order,
                        f"user-{user}",
                        moment.strftime("%Y-%m-%d %H:%M:%S"),
                        f"sku-{category}-{kind}",
                        f"product {kind} of {category}",
                        f"department {category % 3}",
                        f"category {category}",
                        f"{1 + category}.50",
                        "1",
                    )
                )
            moment += timedelta(days=draw.uniform(4, 14))
    return rows


def write_shop(directory: Path, rows: Iterable[tuple[str, ...]], mapping: str = MAPPING) -> tuple[Path, Path]:
    """``orders.csv`` and ``shop.toml``."""
    orders, described = directory / "orders.csv", directory / "shop.toml"
    with orders.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    described.write_text(mapping, encoding="utf-8")
    return orders, described


def purchase(user: str, day: float, *categories: str, **fields: Any) -> dict[str, Any]:
    """A purchase so many days after the first, of one product of each category."""
    at_ms = FIRST_MS + round(day * DAY_MS)
    items = [
        {"item_id": name, "item_name": f"{name} type", "item_category": "grocery", "item_category2": name}
        for name in categories
    ]
    body = {
        "source": "test",
        "event_type": "purchase",
        "user_id": user,
        "occurred_at_ms": at_ms,
        "items": items,
    }
    return {**body, "event_id": f"{user}:{at_ms}", "transaction_id": f"{user}:{at_ms}", **fields}


def write_archive(
    directory: Path,
    bodies: Iterable[Mapping[str, Any]],
    received_ms: Mapping[str, int] | None = None,
    choice: InterestChoice | None = None,
) -> Path:
    """An archive of events, each received as it occurred unless its id says otherwise."""
    late = received_ms or {}
    with ArchiveWriter(directory) as writer:
        for number, body in enumerate(bodies):
            place = Place(TOPIC_BY_TYPE[body["event_type"]], 0, number)
            at_ms = late.get(body["event_id"], body["occurred_at_ms"])
            error = writer.add(place, at_ms, orjson.dumps(body))
            assert error is None, error
    described = Description(
        name="made",
        sha256="0" * 64,
        events=writer.accepted,
        rejects={},
        interests=choice or InterestChoice(min_buyers=2),
    )
    write_description(directory, described)
    return directory
