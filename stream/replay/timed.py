"""An event of a replay, with the topic it goes to."""

from typing import Any, Final, NamedTuple

from stream.events import AD_TOPIC, BROWSE_TOPIC, CLICK_TOPIC, EVENT_TYPES, PURCHASE_TOPIC

_TOPICS: Final = {
    "click": CLICK_TOPIC,
    "purchase": PURCHASE_TOPIC,
    "refund": PURCHASE_TOPIC,
    "ad_impression": AD_TOPIC,
    "ad_click": AD_TOPIC,
    "ad_dismiss": AD_TOPIC,
}
#: Where each type of event belongs; whatever is no click, purchase or ad is browsing.
TOPIC_BY_TYPE: Final[dict[str, str]] = {name: _TOPICS.get(name, BROWSE_TOPIC) for name in EVENT_TYPES}


class TimedEvent(NamedTuple):
    """One behaviour event; ``body`` is the JSON object of the input contract (``stream.events.BehaviourEvent``)."""

    #: Event time, UTC epoch in ms; the same as ``body["occurred_at_ms"]``.
    at_ms: int
    topic: str
    body: dict[str, Any]


def timed(body: dict[str, Any]) -> TimedEvent:
    """The event of a body that has ``event_type`` and ``occurred_at_ms``."""
    return TimedEvent(body["occurred_at_ms"], TOPIC_BY_TYPE[body["event_type"]], body)
