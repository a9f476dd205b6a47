"""FOLD, several ids of one person: what a statement or a hand-over makes of a state, and what must be said elsewhere.

Pure. A merge is two steps over the log, because the two users may be on different partitions: the request makes a
redirect of the merged user's state (stream.merging.leaving), its hand-over is taken in at the other end (``receive``).
"""

from collections.abc import Sequence
from typing import NamedTuple

from stream.consent import combined
from stream.control import Statement, apply_statement, counted_as, is_erased, without_profile
from stream.errors import RejectionError
from stream.events import Change, ControlEvent, Outcome, Reason
from stream.fold import Received, erase_user, searched_texts
from stream.handover import Handed, HandOver, Kind, hex16, merged_ids, state_text
from stream.hashing import hash64
from stream.merging import exported, is_moved, joint_consent, leaving, take_in, touch
from stream.privacy import PrivacyRules
from stream.state import UserState
from stream.ties import Alias
from stream.window import WindowPolicy


class IdentityRules(NamedTuple):
    """What merges go by."""

    policy: WindowPolicy
    privacy: PrivacyRules
    #: Of the behaviour table: marks the hand-overs of this deployment.
    changelog: str


class Told(NamedTuple):
    """What becomes of a record."""

    outcome: str
    reason: str = ""
    state: UserState | None = None
    """In place of the one before; None if nothing changes."""
    messages: Sequence[HandOver] = ()
    """To be durable before the state is."""
    onward: HandOver | None = None
    """As the record goes on to another user: the one that it was for was merged meanwhile."""
    forgotten_texts: Sequence[int] = ()
    """Beside those that the state itself lets go."""


def subject(event: ControlEvent) -> bytes:
    """Whose state a statement changes first: of a merge the anonymous user's."""
    return (event.anonymous_id if event.action == "merge" and event.anonymous_id else event.user_id).encode()


def tell(
    state: UserState, user: bytes, statement: Statement, received: Received, rules: IdentityRules
) -> Told:
    """What a statement makes of its user.

    Args:
        state: Of ``subject``; may be changed.
        user: That.
        statement: As it was read.
        received: Where it stood; its offset is not applied yet.
        rules: See there.

    Raises:
        RejectionError: ``merge_loop``.
    """
    event, now_ms = statement.event, received.record_ms
    if event.action == "merge":
        return _leave(state, user, event.user_id.encode(), received, rules)
    if event.action == "erase":
        return _erase(state, user, received, rules)
    if is_moved(state, now_ms):
        said = apply_statement(UserState(), event, received, rules.privacy)
        assert said is not None  # only of an erased user there is none
        message = _message("statement", state.ties.into, user, _id_of(user, received), rules)
        return Told(
            Outcome.REPRODUCED, Change.MERGED, None, [message.model_copy(update={"state": state_text(said)})]
        )
    changed = apply_statement(state, event, received, rules.privacy)
    return Told(*counted_as(statement, changed), changed)


def receive(state: UserState, user: bytes, handed: Handed, received: Received, rules: IdentityRules) -> Told:
    """What a hand-over makes of the state that it is for.

    Args:
        state: Of the user whom the hand-over is for; may be changed.
        user: Whom.
        handed: What came.
        received: Where it stood; its offset is not applied yet.
        rules: See there.
    """
    kind, now_ms = handed.message.kind, received.record_ms
    # What comes home was merged in a circle: the redirect ends, and the user has his own again.
    is_home = handed.message.from_user_id.encode() == user
    if kind != "forget" and not is_home and is_moved(state, now_ms):
        onward = handed.message.model_copy(update={"user_id": state.ties.into.decode()})
        return Told(Outcome.REPRODUCED, Change.MERGED, onward=onward)
    if is_erased(state, now_ms):
        return Told(Outcome.ERASED, forgotten_texts=searched_texts(handed.state))
    match kind:
        case "erase":
            told = _erase(state, user, received, rules)
        case "forget":
            told = _forget(state, received, handed)
        case "statement":
            told = _narrow(state, handed, received, rules)
        case "state":
            told = _take_in(state, handed, received, rules)
    return told


def handover_of(state: UserState, user: bytes, rules: IdentityRules) -> HandOver:
    """The hand-over that a redirect still has to send; the same however often it is asked for."""
    message = _message("state", state.ties.into, user, state.ties.pending, rules)
    return message.model_copy(
        update={"merged": merged_ids(state.ties.aliases), "state": state_text(exported(state))}
    )


def _forget(state: UserState, received: Received, handed: Handed) -> Told:
    if is_moved(state, received.record_ms) and state.ties.into in {alias.user for alias in handed.aliases}:
        return Told(Outcome.ACCEPTED, "", erase_user(state, received))
    return Told(Outcome.IGNORED, Change.MERGED_ELSEWHERE)


def _leave(state: UserState, user: bytes, known: bytes, received: Received, rules: IdentityRules) -> Told:
    now_ms, default = received.record_ms, rules.privacy.default_purposes
    if is_erased(state, now_ms):
        return Told(Outcome.ERASED)
    if known in {alias.user for alias in state.ties.alive(now_ms)}:
        detail = "anonymous_id is where user_id was merged into before; merge in one direction only, or erase one of them"
        raise RejectionError(Reason.MERGE_LOOP, detail)
    outcome: tuple[str, str] = (Outcome.ACCEPTED, "")
    gap = state.consent.gap(now_ms, default)
    if is_moved(state, now_ms):
        if state.ties.into == known:
            return Told(Outcome.DUPLICATE)
        outcome = (Outcome.NORMALISED, Change.MERGED_ELSEWHERE)
    elif state.revision == 0:
        outcome = (Outcome.NORMALISED, Change.UNKNOWN_USER)
    elif gap is not None:
        outcome = (Outcome.NO_CONSENT, gap)
    return Told(*outcome, leaving(state, known, _id_of(user, received), received, default))


def _erase(state: UserState, user: bytes, received: Received, rules: IdentityRules) -> Told:
    """Whoever is erased under one id is erased under all."""
    now_ms, handover_id = received.record_ms, _id_of(user, received)
    others = [alias for alias in state.ties.alive(now_ms) if alias.user != user]
    ids = merged_ids([*others, Alias(user, handover_id, now_ms // 1000)])
    messages = [
        _message("forget", alias.user, user, handover_id, rules).model_copy(update={"merged": ids})
        for alias in others
    ]
    if is_moved(state, now_ms):
        messages.append(_message("erase", state.ties.into, user, handover_id, rules))
    return Told(Outcome.ACCEPTED, "", erase_user(state, received), messages)


def _narrow(state: UserState, handed: Handed, received: Received, rules: IdentityRules) -> Told:
    default, handover_id = rules.privacy.default_purposes, int(handed.message.handover_id, 16)
    if state.recent.body_of(handover_id) is not None:
        return Told(Outcome.DUPLICATE)
    consent = combined(state.consent, handed.state.consent, default)
    if consent.gap(received.record_ms, default) is not None:
        return Told(Outcome.ACCEPTED, "", without_profile(state, consent, received))
    state.consent = consent
    state.recent.remember(handover_id, 0, received.record_ms)
    touch(state, received)
    return Told(Outcome.ACCEPTED, "", state)


def _take_in(state: UserState, handed: Handed, received: Received, rules: IdentityRules) -> Told:
    other, default = handed.state, rules.privacy.default_purposes
    sender, handover_id = handed.message.from_user_id.encode(), int(handed.message.handover_id, 16)
    if state.ties.handover_of(sender) == handover_id:
        return Told(Outcome.DUPLICATE)
    ties = state.ties._replace(into=b"", pending=0)
    for alias in (*handed.aliases, Alias(sender, handover_id, received.record_ms // 1000)):
        ties = ties.with_alias(alias)
    consent = joint_consent(state.consent, other, received.record_ms, default)
    gap = consent.gap(received.record_ms, default)
    if gap is not None:
        state = without_profile(state, consent, received)
        state.ties = ties
        return Told(Outcome.NO_CONSENT, gap, state, forgotten_texts=searched_texts(other))
    state.consent, state.ties = consent, ties
    take_in(state, other, received, rules.policy)
    return Told(Outcome.ACCEPTED, "", state)


def _message(kind: Kind, user: bytes, sender: bytes, handover_id: int, rules: IdentityRules) -> HandOver:
    return HandOver(
        kind=kind,
        changelog=rules.changelog,
        user_id=user.decode(),
        from_user_id=sender.decode(),
        handover_id=hex16(handover_id),
    )


def _id_of(user: bytes, received: Received) -> int:
    """Of what a record makes somebody say; a record that is read again says the same."""
    return hash64(f"{received.source}:{received.offset}:".encode() + user) or 1
