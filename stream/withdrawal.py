"""Of whom nothing may be out: asked of encoded states, so that nobody is decoded for it."""

from collections.abc import Callable

from stream.due import DueUser
from stream.publisher import Erased
from stream.state import peek_consent, peek_erased, peek_moved, peek_revision

#: Whether the user of an encoded state may not be profiled now.
Refused = Callable[[bytes], bool]


def refused_by(default_purposes: int, now_ms: Callable[[], int]) -> Refused:
    """By consent.

    Args:
        default_purposes: Of users who said nothing.
        now_ms: Stream time.
    """
    return lambda data: peek_consent(data).gap(now_ms(), default_purposes) is not None


def withdrawal(user: DueUser, data: bytes | None, is_refused: Refused) -> Erased | None:
    """What is to be taken back of a user; None if he may be scored.

    Args:
        user: Who is due.
        data: His encoded state, None if it was forgotten.
        is_refused: See ``Refused``.
    """
    if data is None:
        return Erased(user, None)
    if peek_erased(data):
        return Erased(user, peek_revision(data))
    is_gone = peek_moved(data) or is_refused(data)
    return Erased(user, peek_revision(data), is_known=True) if is_gone else None
