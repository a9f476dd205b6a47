"""Two users' states into one: as if all events had been those of one user, as far as a state can tell.

What it can't tell: that an event was sent under both ids (it counts twice), and what a full window, profile or list of
ids let go before. Decayed weights are equal up to float32 rounding. Pure; time comes with the record.
"""

from stream.consent import Consent, combined
from stream.control import did_anything, emptied_state
from stream.exposure import Exposures
from stream.fold import Received
from stream.profile import Profile, add_decayed_sums
from stream.state import Orders, UserState
from stream.ties import REDIRECT_MS, Ties
from stream.window import BehaviourWindow, WindowPolicy


def is_moved(state: UserState, record_ms: int) -> bool:
    """Whether a record of this user belongs to the one that he was merged into."""
    return bool(state.ties.into) and record_ms < state.folded_at_ms + REDIRECT_MS


def take_in(state: UserState, other: UserState, received: Received, policy: WindowPolicy) -> None:
    """Add all that another user did to a state, in place.

    Args:
        state: Keeps its revision (one more), its offsets and its ties.
        other: Is not changed.
        received: Where the hand-over stood.
        policy: As of any event.
    """
    touch(state, received)
    state.recent.merge(other.recent)
    state.recent.expire(received.record_ms - policy.lateness_grace_ms)
    for behaviour in other.window.behaviours():
        state.window.add(behaviour, policy)
    state.window.expire(state.folded_at_ms - policy.span_ms)
    state.profile.merge(other.profile)
    _add_orders(state.orders, other.orders)
    state.exposures.merge(other.exposures)
    state.exposures.expire(state.folded_at_ms)


def touch(state: UserState, received: Received) -> None:
    """Note that a record changed the state."""
    state.erased_at_ms = 0
    state.revision += 1
    state.applied[received.source] = received.offset
    state.folded_at_ms = max(state.folded_at_ms, received.record_ms)


def leaving(state: UserState, into: bytes, handover_id: int, received: Received, default: int) -> UserState:
    """The state that is to be handed over: from here on it never changes, so that a repeat hands over the same.

    Of a user who may not be profiled, or who was handed over before, only the ids go.

    Args:
        state: Of the user who was merged; may be changed.
        into: Into whom.
        handover_id: Tells this hand-over from any other.
        received: Where the request stood.
        default: Purposes of users who said nothing.
    """
    may_not = state.consent.gap(received.record_ms, default) is not None
    left = emptied_state(state) if may_not else state
    touch(left, received)
    left.ties = Ties(into, handover_id, state.ties.aliases)
    return left


def drain(state: UserState) -> None:
    """Make a redirect of a state that is handed over, in place.

    The ids of recent events stay: what a producer repeats is known here, however late the other end learns of it.
    """
    state.orders, state.window = Orders(), BehaviourWindow()
    state.profile, state.exposures = Profile(), Exposures()
    state.ties = Ties(state.ties.into)


def exported(state: UserState) -> UserState:
    """What is handed over: what the user did and said, nothing about where it was read."""
    export = UserState()
    export.revision, export.folded_at_ms, export.consent = state.revision, state.folded_at_ms, state.consent
    if did_anything(state):
        export.orders, export.window, export.profile = state.orders, state.window, state.profile
        export.recent, export.exposures = state.recent, state.exposures
    return export


def joint_consent(known: Consent, other: UserState, now_ms: int, default: int) -> Consent:
    """What holds for both together: never more than for either of them.

    Where nothing comes together, because one of them may not be profiled, the known user's own word stands. A minor is one
    under any id.
    """
    if did_anything(other) and known.gap(now_ms, default) is None:
        return combined(known, other.consent, default)
    return known._replace(is_minor=known.is_minor or other.consent.is_minor)


def _add_orders(orders: Orders, other: Orders) -> None:
    if other.first_seen:
        orders.see(other.first_seen)
    if not other.count:
        return
    if not orders.count:
        orders.reference = other.reference
    add_decayed_sums(orders.weights, 0, other.weights, 0, other.reference - orders.reference)
    orders.reference = max(orders.reference, other.reference)
    orders.last = max(orders.last, other.last)
    orders.count += other.count
