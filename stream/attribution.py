"""What of a taken event hangs in the air: a click on an ad never shown, a purchase of what was never looked at.

Such events are taken all the same; they are counted, because a rise says that impressions or views don't arrive.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from stream.events import EVENT_TYPES, BehaviourEvent, Change
from stream.exposure import campaign_hash
from stream.render import render_event
from stream.state import UserState

CLICK_WITHOUT_IMPRESSION: Final = "click_without_impression"
PURCHASE_WITHOUT_VIEW: Final = "purchase_without_view"
_BOUGHT: Final = frozenset({EVENT_TYPES.index("purchase"), EVENT_TYPES.index("refund")})


class Loose(NamedTuple):
    """What is not known of an event."""

    step: str
    """The step before it that is missing; empty if none is."""
    change: Change
    """``unknown_campaign``, or none."""


NOTHING_LOOSE: Final = Loose("", Change.NONE)


def loose_ends(
    event: BehaviourEvent, state: UserState, interest_level: int, knows_campaign: Callable[[str], bool]
) -> Loose:
    """What hangs in the air after an event was folded into the state."""
    if event.ad is not None:
        change = Change.NONE if knows_campaign(event.ad.cid) else Change.UNKNOWN_CAMPAIGN
        is_blind = (
            event.event_type == "ad_click" and campaign_hash(event.ad.cid) not in state.exposures.campaigns
        )
        return Loose(CLICK_WITHOUT_IMPRESSION if is_blind else "", change)
    if event.event_type == "purchase" and not _was_looked_at(event, state, interest_level):
        return Loose(PURCHASE_WITHOUT_VIEW, Change.NONE)
    return NOTHING_LOOSE


def _was_looked_at(event: BehaviourEvent, state: UserState, interest_level: int) -> bool:
    """Whether any of the items is in the window by something else than buying."""
    window = state.window
    rows = [row for row, kind in enumerate(window.kinds) if kind not in _BOUGHT]
    if not rows:
        return False
    bought = {rendered.text_hash for rendered in render_event(event, interest_level)}
    return not bought.isdisjoint(window.texts[row] for row in rows)
