"""The output contract, and when there is news."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
import pytest

from stream.contributions import Contribution
from stream.features import Floats
from stream.interest_update import (
    InterestUpdate,
    UpdateParts,
    build_update,
    is_news,
    top_rows,
    update_id,
)
from stream.model.repository import Interest, ModelBundle, ModelVersion
from stream.rollout import ModelNames
from stream.state import UserState
from stream.window import WindowPolicy
from tests.builders import NOW_MS, behaviour

NAMES = ("Tea", "Brie", "Nails")


def bundle(**changes: Any) -> ModelBundle:
    """A model version with three interests."""
    interests = tuple(Interest(name.lower(), name, row + 1) for row, name in enumerate(NAMES))
    fields: dict[str, Any] = {
        "encoder": ModelVersion("behaviour_encoder", "3"),
        "head": ModelVersion("interest_head", "5"),
        "encoder_version": "encoder-3",
        "label_set_hash": "ab" * 32,
        "taxonomy": "shop-1",
        "interest_level": 2,
        "half_life_days": 14.0,
        "interests": interests,
        "row_by_category": MappingProxyType({one.category_hash: row for row, one in enumerate(interests)}),
        "interest_vectors": np.eye(3, dtype=np.float32),
        "tokenizer_path": Path("tokenizer.json"),
        "max_tokens": 64,
        "buckets": (16, 64),
        "ad_response": {},
        **changes,
    }
    return ModelBundle(**fields)


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def known_user() -> UserState:
    state = UserState()
    state.revision, state.folded_at_ms = 8, NOW_MS
    state.window.add(behaviour(NOW_MS - 5000, b"e7", kind="purchase"), WindowPolicy())
    state.window.add(behaviour(NOW_MS - 1000, b"\xff", kind="click"), WindowPolicy())
    state.orders.count = 6
    return state


def update(**changes: Any) -> InterestUpdate:
    parts: dict[str, Any] = {
        "user_id": "u1",
        "request": "update",
        "state": known_user(),
        "scores": floats(0.2, 0.9, 0.1234567),
        "previous": floats(0.25, 0.5, 0.0),
        "intent": floats(0.1, 0.3, 0.6),
        "top": np.array([1, 0]),
        "moved_by": [Contribution(0, 1, 0.75), Contribution(1, 0, 0.123456)],
        "source": "model",
        "emitted_at_ms": NOW_MS + 40,
        "purposes": [3, 4],
        "names": ModelNames("champion", "5", "6"),
        **changes,
    }
    return build_update(UpdateParts(**parts), bundle())


def test_an_update_says_all_that_the_contract_has() -> None:
    assert orjson.loads(update().to_bytes()) == {
        "schema_version": "1.0",
        "update_id": update_id("u1", 8, "update", "5"),
        "user_id": "u1",
        "revision": 8,
        "event_time_ms": NOW_MS,
        "emitted_at_ms": NOW_MS + 40,
        "source": "model",
        "model": {
            "name": "interest_head",
            "version": "5",
            "encoder_version": "encoder-3",
            "label_set_hash": "ab" * 32,
            "role": "champion",
            "champion": "5",
            "challenger": "6",
        },
        "taxonomy": "shop-1",
        "horizon_days": 28,
        "half_life_days": 14.0,
        "interests": [
            {"interest_id": "brie", "name": "Brie", "score": 0.9, "delta": 0.4, "confidence": 0.5},
            {"interest_id": "tea", "name": "Tea", "score": 0.2, "delta": -0.05, "confidence": 0.5},
        ],
        "purchase_intent": {"within_1d": 0.1, "within_3d": 0.3, "within_7d": 0.6},
        "segment": "active",
        "moved_by": [
            {
                "event_id": "e7", "event_type": "purchase", "occurred_at_ms": NOW_MS - 5000,
                "interest_id": "tea", "share": 0.75,
            },
            {
                "event_id": "\ufffd", "event_type": "click", "occurred_at_ms": NOW_MS - 1000,
                "interest_id": "brie", "share": 0.1235,
            },
        ],
        "purposes": [3, 4],
        "text_coverage": 1.0,
        "user": {
            "data": [
                {
                    "name": "interestflow",
                    "segment": [
                        {"id": "brie", "name": "Brie", "value": "0.90000"},
                        {"id": "tea", "name": "Tea", "value": "0.20000"},
                    ],
                    "ext": {"segtax": 501, "taxonomy": "shop-1"},
                }
            ]
        },
    }  # fmt: skip


def test_what_is_sent_is_valid_by_its_own_contract() -> None:
    assert InterestUpdate.model_validate_json(update().to_bytes()) == update()


def test_the_first_update_has_no_delta() -> None:
    assert [one.delta for one in update(previous=None).interests] == [None, None]


@pytest.mark.parametrize("source", ["profile", "none"])
def test_scores_that_no_model_gave_name_none(source: str) -> None:
    sent = update(source=source, intent=None)

    assert (sent.model, sent.purchase_intent, sent.segment) == (None, None, "unknown")


def test_cached_scores_name_the_model_that_gave_them() -> None:
    model = update(source="cached").model
    assert model is not None
    assert model.version == "5"


@pytest.mark.parametrize(
    ("intent", "segment"),
    [
        ((0.5, 0.6, 0.7), "ready"),
        ((0.49, 0.6, 0.7), "active"),
        ((0.1, 0.2, 0.5), "active"),
        ((0.1, 0.2, 0.49), "dormant"),
    ],
)
def test_the_segment_follows_the_intent_to_buy(intent: tuple[float, ...], segment: str) -> None:
    assert update(intent=floats(*intent)).segment == segment


def test_confidence_grows_with_what_is_known_of_a_user() -> None:
    unknown = update(state=UserState(), moved_by=[])
    long_known = known_user()
    long_known.orders.count = 790

    assert [one.confidence for one in unknown.interests] == [0.0, 0.0]
    assert update(state=long_known).interests[0].confidence == 0.99


def test_a_model_without_a_half_life_has_that_of_its_horizon() -> None:
    names = ModelNames("champion", "5", None)
    parts = UpdateParts(
        "u1", "update", known_user(), floats(1), None, None, np.array([0]), [], "profile", NOW_MS, names, []
    )

    assert build_update(parts, bundle(half_life_days=None)).half_life_days == 28.0


def test_the_highest_scores_come_first_and_of_equals_the_first_row() -> None:
    assert top_rows(floats(0.1, 0.5, 0.5, 0.9), 3).tolist() == [3, 1, 2]
    assert top_rows(floats(0.1, 0.5), 10).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("scores", "previous", "news"),
    [
        pytest.param((0.5, 0.1), None, True, id="the first scores"),
        pytest.param((0.5, 0.1), (0.5, 0.1), False, id="nothing moved"),
        pytest.param((0.5, 0.1), (0.375, 0.1), True, id="the top interest moved by the threshold"),
        pytest.param((0.5, 0.1), (0.4375, 0.1), False, id="it moved by less"),
        pytest.param((0.5, 0.0), (0.5, 0.3), False, id="what is not on top moved"),
        pytest.param((0.5, 0.45), (0.3, 0.45), True, id="another came to the top"),
        pytest.param((0.2, 0.45), (0.5, 0.45), True, id="the top one fell"),
        pytest.param((), (), False, id="there are no interests"),
    ],
)
def test_news_is_a_top_interest_that_moved(
    *, scores: tuple[float, ...], previous: tuple[float, ...] | None, news: bool
) -> None:
    before = None if previous is None else floats(*previous)

    assert is_news(floats(*scores), before, most=1, threshold=0.125) is news


def test_a_repeat_has_the_same_id_and_anything_else_another() -> None:
    ids = {
        update_id(user, revision, request, version)
        for user in ("u1", "u11")
        for revision in (1, 11)
        for request in ("update", "review-1", "fallback")
        for version in ("5", "15")
    }

    assert len(ids) == 24
    assert update_id("u1", 1, "update", "5") == update_id("u1", 1, "update", "5")
    assert all(len(one) == 32 for one in ids)


def test_without_personalised_ads_nothing_is_said_to_ad_systems() -> None:
    document = update(purposes=[3, 5])

    assert document.user["data"][0]["segment"] == []  # type: ignore[index]
    assert (document.purposes, len(document.interests)) == ([3, 5], 2)
