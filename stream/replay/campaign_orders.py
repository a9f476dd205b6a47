"""The data set's 27 campaigns as messages of ``ads.campaigns``.

Times, coupons and their products are recorded. The bids are invented, for the data says nothing of what a mailing
was worth: a base by the campaign's type, plus or minus a quarter by a hash of its number, the same on every machine.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.ads.campaign import Campaign, Creative
from stream.errors import TransientError
from stream.events import CAMPAIGNS_TOPIC
from stream.hashing import hash64
from stream.replay import complete_journey

#: One account.
SEAT: Final = "complete-journey"
#: Invented, CPM in US dollars: the personal mailings (A) above the short (B) and the long general ones (C).
_BASE_CPM: Final = {"Type A": 6.0, "Type B": 4.0, "Type C": 2.5}
#: Invented: campaigns of one type differ by up to this share, so that ranking has something to rank.
_SPREAD: Final = 0.25
_HASH_RANGE: Final = 2.0**64


def campaign_orders() -> list[Campaign]:
    """All campaigns, in order of their number."""
    return [campaign_order(recorded) for recorded in complete_journey.campaigns()]


def campaign_order(recorded: complete_journey.Campaign) -> Campaign:
    """The message of one recorded campaign."""
    return Campaign(
        cid=recorded["cid"],
        name=recorded["name"],
        seat=SEAT,
        starts_at_ms=recorded["starts_at_ms"],
        ends_at_ms=recorded["ends_at_ms"] + 1,  # recorded is the last millisecond
        status="active",
        bid_cpm=invented_bid_cpm(recorded["cid"], recorded["type"]),
        creatives=[
            Creative(
                crid=creative["crid"],
                title=creative["title"],
                categories=creative["categories"],
                products=creative["product_count"],
            )
            for creative in recorded["creatives"]
        ],
    )


def invented_bid_cpm(cid: str, kind: str) -> float:
    """CPM in US dollars, a function of the two alone; whole cents."""
    drawn = hash64(f"bid:{cid}".encode()) / _HASH_RANGE
    return round(_BASE_CPM[kind] * (1 + _SPREAD * (2 * drawn - 1)), 2)


async def publish_campaigns(orders: Iterable[Campaign], client_kwargs: Mapping[str, Any]) -> None:
    """Send the campaigns, each under its cid; returns when all are acknowledged.

    Raises:
        TransientError: If the broker does not take them.
    """
    producer = AIOKafkaProducer(acks="all", **client_kwargs)
    try:
        await producer.start()
        for order in orders:
            await producer.send_and_wait(
                CAMPAIGNS_TOPIC, order.model_dump_json().encode(), key=order.cid.encode()
            )
    except KafkaError as error:
        raise TransientError(
            f"the campaigns could not be sent to {client_kwargs['bootstrap_servers']}: {error!r}; check that the broker "
            "runs and that the topics exist, then try again"
        ) from error
    finally:
        await producer.stop()
