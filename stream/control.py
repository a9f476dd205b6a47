"""FOLD, what people say about themselves: statements of ``users.control``, and the gate that events pass by them."""

from typing import NamedTuple

from stream.consent import ALL_PURPOSES, BASIC_ADS, SAID_NOTHING, Consent, allows, stated
from stream.decode import Decoded, decode_control, decode_erasure_key, parse_object
from stream.errors import RejectionError
from stream.events import Change, ControlEvent, Outcome, Reason
from stream.fold import ERASED_MARKER_MS, Received, erase_user, searched_texts
from stream.privacy import PrivacyRules
from stream.sensitive import withhold
from stream.state import UserState
from stream.user_ids import settle_user_id


class Statement(NamedTuple):
    """A statement, and whether it had to be read as a refusal."""

    event: ControlEvent
    change: Change


def read_statement(key: bytes | None, value: bytes | None) -> Statement:
    """The statement of a record; a null value erases the user of the key.

    A consent that can't be read is one that allows nothing: whatever was allowed before must not go on.

    Raises:
        RejectionError: If nobody can say whom it is about, or what is wanted.
    """
    if value is None:
        return Statement(ControlEvent(action="erase", user_id=decode_erasure_key(key)), Change.NONE)
    try:
        event = decode_control(value)
    except RejectionError:
        refusal = _refusal(value)
        if refusal is None:
            raise
        return Statement(refusal, Change.CONSENT_UNREADABLE)
    if event.action == "merge":
        return Statement(_settled_merge(event), Change.NONE)
    if event.action == "consent" and event.purposes is None and event.minor is None:
        return Statement(event.model_copy(update={"purposes": []}), Change.CONSENT_UNREADABLE)
    return Statement(event, Change.NONE)


def _settled_merge(event: ControlEvent) -> ControlEvent:
    """A merge in the one spelling of its ids, which it brings together for good."""
    if event.anonymous_id is None:
        raise RejectionError(Reason.MISSING, "anonymous_id: a merge needs the id that becomes user_id")
    user_id = settle_user_id(event.user_id)
    try:
        anonymous_id = settle_user_id(event.anonymous_id)
    except RejectionError as error:
        raise RejectionError(error.reason, error.detail.replace("user_id", "anonymous_id", 1)) from error
    if anonymous_id == user_id:
        raise RejectionError(
            Reason.MERGE_SELF, "anonymous_id and user_id are the same; send two ids that differ"
        )
    return event.model_copy(update={"user_id": user_id, "anonymous_id": anonymous_id})


def _refusal(value: bytes) -> ControlEvent | None:
    try:
        document = parse_object(value)
        if document.get("action") != "consent" or not isinstance(document.get("user_id"), str):
            return None
        user_id = decode_erasure_key(document["user_id"].encode())
    except (RejectionError, UnicodeEncodeError):
        return None
    return ControlEvent(action="consent", user_id=user_id, purposes=[])


def apply_statement(
    state: UserState, event: ControlEvent, received: Received, privacy: PrivacyRules
) -> UserState | None:
    """The state after a statement, the same object or another; None if it changes nothing for the user is erased.

    Args:
        state: Of the user before.
        event: What was said.
        received: Where it stood.
        privacy: What holds for users who said nothing.
    """
    if event.action == "erase":
        return erase_user(state, received)
    if is_erased(state, received.record_ms):
        return None
    is_minor = state.consent.is_minor if event.minor is None else event.minor
    if event.purposes is None:
        consent = state.consent._replace(is_minor=is_minor)
    else:
        consent = stated(event.purposes, event.expires_at_ms, is_minor=is_minor)
    if consent.gap(received.record_ms, privacy.default_purposes) is not None:
        return without_profile(state, consent, received)
    state.consent = consent
    state.erased_at_ms = 0
    state.revision += 1
    state.applied[received.source] = received.offset
    state.folded_at_ms = max(state.folded_at_ms, received.record_ms)
    return state


class Gated(NamedTuple):
    """What the gate lets through, and what it keeps back."""

    decoded: Decoded
    """The event without what must not be remembered."""
    outcome: Outcome | None = None
    """Set if nothing of the event is folded."""
    gap: str = ""
    state: UserState | None = None
    """To be kept in place of the one before; None if nothing changes."""


def pass_gate(state: UserState, decoded: Decoded, received: Received, privacy: PrivacyRules) -> Gated:
    """Hold an event back whose user may not be profiled, and forget what was known of the user until then.

    Of an event that passes, sensitive parts are withheld, and what it says of ads if those may not be counted.
    """
    event, consent = decoded.event, state.consent
    if consent == SAID_NOTHING and privacy.default_purposes == ALL_PURPOSES and not event.minor:
        return Gated(
            withhold(decoded, privacy.sensitive)
        )  # most events of most shops: all else takes 3 µs more
    if received.offset <= state.applied.get(received.source, -1) or is_erased(state, received.record_ms):
        return Gated(decoded)  # FOLD says what becomes of it
    if event.minor:
        consent = consent._replace(is_minor=True)
    gap = consent.gap(received.record_ms, privacy.default_purposes)
    if gap is not None:
        is_known = consent == state.consent and not has_profile(state)
        changed = None if is_known else without_profile(state, consent, received)
        return Gated(decoded, Outcome.NO_CONSENT, gap, changed)
    allowed = consent.allowed(received.record_ms, privacy.default_purposes)
    if event.ad is not None and not allows(allowed, BASIC_ADS):
        decoded = decoded._replace(event=event.model_copy(update={"ad": None}))
    return Gated(withhold(decoded, privacy.sensitive))


def forgotten_texts(before: UserState, after: UserState) -> list[int]:
    """Words that the user typed and that nothing of the state after refers to."""
    return [] if after is before else searched_texts(before)


def is_erased(state: UserState, record_ms: int) -> bool:
    """Whether a record comes within the life of an erasure's marker."""
    return bool(state.erased_at_ms) and record_ms < state.erased_at_ms + ERASED_MARKER_MS


def has_profile(state: UserState) -> bool:
    """Whether anything of what the user did is kept."""
    return bool(len(state.recent) or did_anything(state))


def did_anything(state: UserState) -> bool:
    """The same, the ids of recent events left out."""
    return bool(
        len(state.window)
        or len(state.profile)
        or len(state.exposures)
        or state.orders.count
        or state.orders.first_seen
    )


def without_profile(state: UserState, consent: Consent, received: Received) -> UserState:
    """The state that keeps what the user said, and nothing of what the user did."""
    emptied = emptied_state(state)
    emptied.consent = consent
    emptied.revision += 1
    emptied.applied[received.source] = received.offset
    emptied.folded_at_ms = max(state.folded_at_ms, received.record_ms)
    return emptied


def emptied_state(state: UserState) -> UserState:
    """The same at the same revision without anything that the user did."""
    emptied = UserState()
    emptied.revision, emptied.folded_at_ms = state.revision, state.folded_at_ms
    emptied.applied, emptied.consent, emptied.ties = dict(state.applied), state.consent, state.ties
    return emptied


def counted_as(statement: Statement, state: UserState | None) -> tuple[str, str]:
    """Outcome and reason of a statement, by the state that it led to."""
    if state is None:
        return Outcome.ERASED, ""
    return (Outcome.NORMALISED, statement.change) if statement.change else (Outcome.ACCEPTED, "")
