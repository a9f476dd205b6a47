"""FOLD, the pure part: one decoded event into one user's state, with the time passed in.

The same events in any order, with repeats, leave the same window and profile (tests/unit/test_fold.py).
"""

from collections.abc import MutableMapping
from typing import Final, NamedTuple

from stream.decode import Decoded
from stream.errors import RejectionError
from stream.events import EVENT_TYPES, BehaviourEvent, Outcome, Reason
from stream.exposure import campaign_hash
from stream.hashing import hash64
from stream.profile import WEIGHT_BY_KIND
from stream.render import NOTHING, render_event
from stream.state import UserState
from stream.window import DAY_MS, Behaviour, WindowPolicy

#: Events of an erased user are dropped for as long: longer than inputs may be kept (INTERESTFLOW_PRIVACY__RETENTION_DAYS).
ERASED_MARKER_MS: Final = 60 * DAY_MS
KIND_BY_TYPE: Final = {name: code for code, name in enumerate(EVENT_TYPES)}
#: Looked up for every event, and looking a member up in its enum takes five times as long.
_ACCEPTED: Final = Outcome.ACCEPTED
_IMPRESSION: Final = "ad_impression"
_AD_CLICK: Final = "ad_click"
_SEARCH_KIND: Final = KIND_BY_TYPE["search"]


class Received(NamedTuple):
    """Where and when a record stood in its log."""

    source: int
    offset: int
    #: FOLD's now: the record's timestamp, UTC ms.
    record_ms: int
    #: Hash of (source, event id), and of the body.
    event_hash: int
    body_hash: int
    #: The event's id, or the deterministic one that stands in for it.
    event_id: bytes


def source_key(topic_code: int, partition: int, epoch: int) -> int:
    """What applied offsets are kept under: a topic (position in OWNED_TOPICS), its partition and its epoch."""
    return topic_code << 48 | epoch << 32 | partition


def event_hash(source: str, event_id: bytes) -> int:
    """The identity that duplicates are recognised by."""
    return hash64(source.encode() + b"\0" + event_id)


def fold_event(
    state: UserState,
    decoded: Decoded,
    received: Received,
    policy: WindowPolicy,
    texts: MutableMapping[int, str],
) -> Outcome:
    """Apply one event to the state, or say why it changes nothing.

    Args:
        state: Changed in place, only if the outcome is ``accepted``.
        decoded: The event with its event time.
        received: The record's place and time.
        policy: Window size, span and lateness grace.
        texts: Gets the text of each behaviour by its hash.

    Raises:
        RejectionError: ``id_conflict`` if the id was seen with another body.
    """
    outcome = admit(state, decoded.occurred_at_ms, received, policy)
    if outcome is not _ACCEPTED:
        return outcome
    event, occurred_at_ms = decoded.event, decoded.occurred_at_ms
    state.erased_at_ms = 0
    state.revision += 1
    state.applied[received.source] = received.offset
    record_ms = received.record_ms
    state.folded_at_ms = max(state.folded_at_ms, record_ms)
    state.recent.expire(record_ms - policy.lateness_grace_ms)
    state.recent.remember(received.event_hash, received.body_hash, occurred_at_ms)
    state.orders.see(occurred_at_ms // 1000)
    _add_behaviours(state, event, occurred_at_ms, received, policy, texts)
    # Topics are not read in step: what the furthest of them let go must not come back with a record of another.
    state.window.expire(state.folded_at_ms - policy.span_ms)
    if event.event_type == "purchase":
        state.orders.add(occurred_at_ms // 1000)
    if event.ad is not None:
        _add_ad(state, event, occurred_at_ms)
    return _ACCEPTED


def erase_user(state: UserState, received: Received) -> UserState:
    """The marker that replaces an erased user's state: it keeps the applied offsets and nothing about the user."""
    marker = UserState()
    marker.revision = state.revision + 1
    marker.applied = {**state.applied, received.source: received.offset}
    marker.folded_at_ms = received.record_ms
    marker.erased_at_ms = received.record_ms
    return marker


def searched_texts(state: UserState) -> list[int]:
    """Hashes of the words that the user typed, as far as the window has them."""
    window = state.window
    return [
        text
        for text, kind, category in zip(window.texts, window.kinds, window.categories, strict=True)
        if kind == _SEARCH_KIND and category == NOTHING
    ]


def admit(state: UserState, occurred_at_ms: int, received: Received, policy: WindowPolicy) -> Outcome:
    """Whether an event is news to a state, or why not.

    Raises:
        RejectionError: ``id_conflict`` if the id was seen with another body.
    """
    if received.offset <= state.applied.get(received.source, -1):
        return Outcome.REPLAYED
    if state.erased_at_ms and received.record_ms < state.erased_at_ms + ERASED_MARKER_MS:
        return Outcome.ERASED
    if occurred_at_ms < received.record_ms - policy.lateness_grace_ms:
        return Outcome.LATE
    body = state.recent.body_of(received.event_hash)
    if body is None:
        flooded = state.recent.is_flooded(occurred_at_ms, policy.throttle_span_ms)
        return Outcome.THROTTLED if flooded else _ACCEPTED
    if body == received.body_hash:
        return Outcome.DUPLICATE
    raise RejectionError(
        Reason.ID_CONFLICT, f"event id {received.event_id!r} came before with another body; the first wins"
    )


def _add_behaviours(
    state: UserState,
    event: BehaviourEvent,
    occurred_at_ms: int,
    received: Received,
    policy: WindowPolicy,
    texts: MutableMapping[int, str],
) -> None:
    kind = KIND_BY_TYPE[event.event_type]
    if not WEIGHT_BY_KIND[kind]:
        return  # shown, not acted on
    counted: set[int] = set()
    for position, (text, text_hash, category) in enumerate(render_event(event, policy.interest_level)):
        if text_hash == NOTHING:
            continue
        texts[text_hash] = text
        state.window.add(
            Behaviour(occurred_at_ms, received.event_id, position, kind, category, text_hash), policy
        )
        if category != NOTHING and category not in counted:
            counted.add(category)  # a basket with three kinds of cheese is one purchase of cheese
            state.profile.add(category, kind, occurred_at_ms)


def _add_ad(state: UserState, event: BehaviourEvent, occurred_at_ms: int) -> None:
    assert event.ad is not None
    exposures = state.exposures
    exposures.expire(state.folded_at_ms)
    if event.event_type == _IMPRESSION:
        exposures.show(campaign_hash(event.ad.cid), occurred_at_ms)
    elif event.event_type == _AD_CLICK:
        exposures.clicks += 1
