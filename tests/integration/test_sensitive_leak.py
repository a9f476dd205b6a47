"""A run with the real model whose input is half sensitive: none of it is on any output topic or in any state."""

import asyncio
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from stream.embedded.triton_server import BundledTriton
from stream.events import (
    BROWSE_TOPIC,
    CAMPAIGNS_TOPIC,
    DEAD_LETTER_TOPIC,
    DECISIONS_TOPIC,
    PURCHASE_TOPIC,
    TEXTS_TOPIC,
    UPDATES_TOPIC,
)
from stream.model.repository import load_bundle
from stream.partitioner import partitioner
from stream.render import category_hash
from stream.score_record import decode_record
from stream.setting_sections import SensitiveSettings
from stream.state import decode_state
from tests.behaviour_feed import PARTITIONS, START_MS, Fed, produce
from tests.brokers import Broker, recreate_topics
from tests.worker_process import REPOSITORY, WorkerProcess, latest_by_key, loads, read_topic, total

_MODELS: Final = REPOSITORY / "triton_models"
_APP: Final = "leak"
_USERS: Final = 20
_DAY_MS: Final = 86_400_000
#: Category and product: those of the first list are interests of the shipped model as those of the second are.
_SENSITIVE: Final = (
    ("laxatives", "gentle senna"),
    ("sinus and allergy", "pollen stopper"),
    ("imported wine", "chianti riserva"),
    ("cigarettes", "blue hundreds"),
    ("cereal", "kosher flakes"),  # by its name alone
)
_HARMLESS: Final = (("cheese", "brie de meaux"), ("yogurt", "skyr"), ("frozen pizza", "margherita"))
_SEARCHED: Final = "pregnancy test early"
#: No output may hold one of these.
_WORDS: Final = (
    *(
        "laxative",
        "senna",
        "sinus",
        "allergy",
        "pollen",
        "wine",
        "chianti",
        "cigarette",
        "blue hundreds",
        "kosher",
    ),
    *("pregnan", "cough"),
)


@pytest.fixture
def triton(stub_python: Path) -> Iterator[BundledTriton]:
    with BundledTriton(_MODELS, stub_python, models=["behaviour_encoder", "interest_head"]) as server:
        yield server


def _feed() -> Iterator[Fed]:
    """Of each user harmless and sensitive purchases, mixed in baskets and alone, and a search."""
    home = partitioner("murmur2", PARTITIONS)
    for number in range(_USERS * 8):
        user = f"user-{number % _USERS}"
        products = [_SENSITIVE[number % len(_SENSITIVE)], _HARMLESS[number % len(_HARMLESS)]]
        at_ms = START_MS + number * 60_000
        event: dict[str, Any] = {"event_id": f"event-{number}", "user_id": user, "occurred_at_ms": at_ms}
        match number // _USERS % 4:
            case 0:
                event |= {"event_type": "search", "search_term": _SEARCHED}
            case 1:
                event |= {"event_type": "purchase", "items": _items(products[:1])}
            case 2:
                event |= {"event_type": "purchase", "items": _items(products)}
            case _:
                event |= {"event_type": "view_item", "items": _items(products[1:])}
        topic = PURCHASE_TOPIC if event["event_type"] == "purchase" else BROWSE_TOPIC
        yield Fed(topic, home(user.encode()), user.encode(), orjson.dumps(event), at_ms)


def _items(products: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {
            "item_id": name,
            "item_name": name.title(),
            "item_category": "grocery",
            "item_category2": category.upper(),
        }
        for category, name in products
    ]


def _campaign(cid: str, *categories: str) -> Fed:
    campaign = {
        "cid": cid,
        "name": cid,
        "seat": "shop",
        "starts_at_ms": START_MS - _DAY_MS,
        "ends_at_ms": START_MS + 90 * _DAY_MS,
        "status": "active",
        "bid_cpm": 5.0,
        "creatives": [
            {"crid": f"{cid}-{number}", "title": category, "categories": [category]}
            for number, category in enumerate(categories)
        ],
    }
    return Fed(CAMPAIGNS_TOPIC, 0, cid.encode(), orjson.dumps(campaign), START_MS)


def _read(broker: Broker, topic: str) -> list[Any]:
    return asyncio.run(read_topic(broker.bootstrap_servers, topic, PARTITIONS))


def _leaks(records: Iterable[Any]) -> set[str]:
    contents = [
        part.lower()
        for record in records
        for part in (record.key, record.value, *(content for _, content in record.headers))
        if part
    ]
    return {word for word in _WORDS if any(word.encode() in content for content in contents)}


def test_nothing_sensitive_is_scored_stored_or_emitted(
    broker: Broker, triton: BundledTriton, tmp_path: Path
) -> None:
    asyncio.run(recreate_topics(broker, _APP))
    campaigns = [_campaign("one", "imported wine"), _campaign("two", "sinus and allergy", "cheese")]
    worker = WorkerProcess(
        tmp_path,
        broker.bootstrap_servers,
        APP_ID=_APP,
        KAFKA__BROKER=broker.kind,
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(_MODELS),
        MODEL__GRPC_URL=triton.grpc_url,
        SCORE__MIN_INTERVAL_SECONDS="0.2",
        SCORE__CHANGE_THRESHOLD="0",
        SCORE__TOP_INTERESTS="100",
    )

    asyncio.run(produce(broker.bootstrap_servers, campaigns))
    with worker:
        asyncio.run(produce(broker.bootstrap_servers, _feed()))
        samples = worker.until(
            lambda samples: total(samples, "events") >= _USERS * 8 and samples["interestflow_due_users"] == 0
        )
        assert worker.end(signal.SIGTERM) == 0

    assert _counted(samples, "sensitive") == _USERS * 6
    written = {
        topic: _read(broker, topic)
        for topic in (
            UPDATES_TOPIC,
            DECISIONS_TOPIC,
            DEAD_LETTER_TOPIC,
            TEXTS_TOPIC,
            f"{_APP}-user-behaviour-changelog",
            f"{_APP}-user-scores-changelog",
        )
    }
    assert {topic: _leaks(records) for topic, records in written.items() if _leaks(records)} == {}
    _assert_states(latest_by_key(written[f"{_APP}-user-behaviour-changelog"]).values())
    _assert_scores(latest_by_key(written[f"{_APP}-user-scores-changelog"]).values())
    _assert_decisions([loads(record.value) for record in written[DECISIONS_TOPIC]])
    # The harmless half did come through: what was looked at is what is written.
    assert any(b'"cheese"' in record.value for record in written[UPDATES_TOPIC])
    assert any(record.value == b"skyr, yogurt, grocery" for record in written[TEXTS_TOPIC])


def _counted(samples: dict[str, float], reason: str) -> float:
    return sum(
        value
        for name, value in samples.items()
        if name.startswith("interestflow_events_total") and reason in name.split("|")
    )


def _assert_states(states: Iterable[bytes]) -> None:
    hidden = {category_hash(category) for category, _ in _SENSITIVE}
    shown = {category_hash(category) for category, _ in _HARMLESS}
    decoded = [decode_state(state) for state in states]
    assert len(decoded) == _USERS
    for state in decoded:
        assert hidden.isdisjoint({*state.profile.categories, *state.window.categories})
        assert not shown.isdisjoint(state.profile.categories)


def _assert_scores(records: Iterable[bytes]) -> None:
    names = SensitiveSettings().names()
    interests = load_bundle(_MODELS).interests
    hidden = [row for row, interest in enumerate(interests) if names.topic_of((interest.name,)) is not None]
    assert len(hidden) == 25
    for record in map(decode_record, records):
        assert not record.scores[hidden].any()
        assert record.scores.any()


def _assert_decisions(decisions: list[dict[str, Any]]) -> None:
    reasons = {(one["cid"], one["reason"]) for decision in decisions for one in decision["candidates"]}
    assert ("one", "sensitive") in reasons
    assert {reason for cid, reason in reasons if cid == "one"} == {"sensitive"}
    assert {one["crid"] for decision in decisions for one in decision["candidates"]} <= {None, "two-1"}
