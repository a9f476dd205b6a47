"""The input contract: closed lists whose positions are stored, and models that say no."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from stream.events import (
    BEHAVIOUR_TOPICS,
    EVENT_TYPES,
    OWNED_TOPICS,
    AdReference,
    BehaviourEvent,
    Change,
    ControlEvent,
    Item,
    Outcome,
    Reason,
)
from stream.profile import ACTION_WEIGHTS
from tests.builders import event_fields


def test_event_types_keep_their_stored_codes() -> None:
    assert EVENT_TYPES[:14] == (
        "click", "view_item", "view_item_list", "search", "add_to_wishlist", "add_to_cart", "remove_from_cart",
        "rating", "review", "purchase", "refund", "ad_impression", "ad_click", "ad_dismiss",
    )  # fmt: skip


def test_topics_keep_their_stored_codes() -> None:
    assert OWNED_TOPICS[:6] == (
        "behaviour.click", "behaviour.browse", "behaviour.purchase", "behaviour.ad", "users.control",
        "users.handover",
    )  # fmt: skip


def test_every_owned_topic_but_those_about_users_carries_behaviour() -> None:
    assert set(OWNED_TOPICS) - set(BEHAVIOUR_TOPICS) == {"users.control", "users.handover"}


def test_every_event_type_has_a_weight() -> None:
    assert set(ACTION_WEIGHTS) == set(EVENT_TYPES)


@pytest.mark.parametrize("words", [Reason, Change, Outcome])
def test_labels_are_words_that_a_metric_can_carry(words: type[Reason | Change | Outcome]) -> None:
    assert all(word == "" or word.replace("_", "").isalnum() for word in words)


def test_an_event_needs_a_type_and_a_user_and_nothing_else() -> None:
    event = BehaviourEvent.model_validate({"event_type": "search", "user_id": "u1"})

    assert (event.items, event.source, event.schema_version, event.generated) == ([], "", "1.0", False)


def test_events_do_not_share_their_default_items() -> None:
    first, second = (
        BehaviourEvent.model_validate({"event_type": "search", "user_id": user}) for user in ("u1", "u2")
    )

    first.items.append(Item.model_validate({"item_id": "p1"}))

    assert second.items == []


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (BehaviourEvent, event_fields()),
        (Item, {"item_id": "p1"}),
        (AdReference, {"cid": "c1"}),
        (ControlEvent, {"action": "erase", "user_id": "u1"}),
    ],
)
def test_a_message_cannot_be_changed(model: type[BaseModel], fields: dict[str, Any]) -> None:
    message = model.model_validate(fields)

    with pytest.raises(ValidationError, match="frozen"):
        setattr(message, next(iter(fields)), "x")
