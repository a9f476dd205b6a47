"""What hangs in the air after an event was taken."""

from typing import Any

import pytest

from stream.attribution import (
    CLICK_WITHOUT_IMPRESSION,
    NOTHING_LOOSE,
    PURCHASE_WITHOUT_VIEW,
    Loose,
    loose_ends,
)
from stream.events import Change
from stream.fold import fold_event
from stream.state import UserState
from stream.window import WindowPolicy
from tests.builders import NOW_MS, decoded, item, received


def after(*events: dict[str, Any], known: bool = True) -> Loose:
    """What hangs in the air of the last event."""
    state = UserState()
    for offset, changes in enumerate(events):
        event = decoded(NOW_MS, event_id=f"e{offset}", **changes)
        fold_event(state, event, received(offset, event_id=f"e{offset}"), WindowPolicy(), {})
    return loose_ends(event.event, state, 2, lambda _: known)


def bought(name: str = "Green Tea") -> dict[str, Any]:
    return {"event_type": "purchase", "items": [item(name)]}


def ad(event_type: str, cid: str = "c1") -> dict[str, Any]:
    return {"event_type": event_type, "ad": {"cid": cid}, "items": []}


@pytest.mark.parametrize(
    ("events", "step"),
    [
        ([bought()], PURCHASE_WITHOUT_VIEW),
        ([bought(), bought()], PURCHASE_WITHOUT_VIEW),
        ([{"event_type": "view_item", "items": [item("Brie")]}, bought()], PURCHASE_WITHOUT_VIEW),
        ([{"event_type": "view_item", "items": [item("Green Tea")]}, bought()], ""),
        ([ad("ad_click")], CLICK_WITHOUT_IMPRESSION),
        ([ad("ad_impression", "c2"), ad("ad_click")], CLICK_WITHOUT_IMPRESSION),
        ([ad("ad_impression"), ad("ad_click")], ""),
        ([ad("ad_impression")], ""),
    ],
)
def test_a_purchase_or_a_click_without_the_step_before_it_says_so(
    events: list[dict[str, Any]], step: str
) -> None:
    assert after(*events) == Loose(step, Change.NONE)


def test_a_campaign_that_nobody_knows_is_said() -> None:
    assert after(ad("ad_impression"), known=False) == Loose("", Change.UNKNOWN_CAMPAIGN)


def test_a_click_on_an_item_needs_nothing_before_it() -> None:
    assert after({}) is NOTHING_LOOSE
