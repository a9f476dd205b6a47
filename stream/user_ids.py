"""What may be a user id: a pseudonym that looks like what it is, in one spelling.

An id is what states, caps and erasures hang on: two ids that look alike are a trap, and one that names a person is
kept in more places than anybody will think of later.
"""

import re
import unicodedata
from typing import Final

from stream.errors import RejectionError
from stream.events import Reason

_EMAIL: Final = re.compile(r"(mailto:)?[^@\s]+(@|%40)[^@\s]+\.[^@\s.]{2,}", re.IGNORECASE)
#: With a plus, as +49 151 2345678, in brackets, or in the groups that phone books print. Digits alone are an account number to
#: anybody but its owner: shops count their customers.
_PHONE: Final = re.compile(
    r"(tel:)?(\+[\d .()/-]{7,24}|\(\d{2,5}\)[\d .-]{5,20}|\d{3}[ .-]\d{3}[ .-]\d{4}|00\d{1,3}[ /-][\d ./-]{6,20})",
    re.IGNORECASE,
)
_PHONE_STARTS: Final = frozenset("+(0123456789tT")
#: Alphabets that share letter shapes; an id in two of them is made to be taken for another.
_LOOK_ALIKE_ALPHABETS: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
#: General categories: formats (zero-width, bidi), separators, private and unassigned characters.
_UNSEEN: Final = frozenset({"Cf", "Zl", "Zp", "Co", "Cn"})


def is_ordinary(user_id: str) -> bool:
    """Whether an id is made of ASCII letters and digits, perhaps with hyphens after a start that no phone number has.

    A quick look for every event; such an id needs no more of them.
    """
    if not user_id.isascii():
        return False
    return user_id.isalnum() or (user_id[:4].isalnum() and user_id.replace("-", "a").isalnum())


def settle_user_id(user_id: str) -> str:
    """The id in its one spelling (NFC).

    Raises:
        RejectionError: ``user_id``, ``control``, ``unicode_id`` or ``pii_in_id``; its text never holds the id.
    """
    require_user_id(user_id)
    if not user_id.isprintable() or not user_id.isascii():
        user_id = unicodedata.normalize("NFC", user_id)
        _check_characters(user_id)
    if names_a_person(user_id):
        raise RejectionError(
            Reason.PII_IN_ID,
            "user_id looks like an e-mail address or a phone number; send a pseudonym, as an HMAC of it",
        )
    return user_id


def require_user_id(user_id: str) -> None:
    """Refuse what is no id at all.

    Raises:
        RejectionError: ``user_id``.
    """
    if not user_id or user_id.isspace():
        raise RejectionError(Reason.USER_ID, "user_id is empty or only spaces; send the resolved user id")


def is_same_id(key: bytes, user: bytes) -> bool:
    """Whether a record's key is a settled id in another spelling."""
    return unicodedata.normalize("NFC", key.decode(errors="replace")).encode() == user


def names_a_person(user_id: str) -> bool:
    """Whether an id looks like an e-mail address or a phone number."""
    if ("@" in user_id or "%40" in user_id) and _EMAIL.fullmatch(user_id.strip()):
        return True
    return user_id[:1] in _PHONE_STARTS and _PHONE.fullmatch(user_id.strip()) is not None


def key_names_a_person(key: bytes | None) -> bool:
    """The same of a record's key."""
    return bool(key) and names_a_person((key or b"")[:1024].decode(errors="replace"))


def _check_characters(user_id: str) -> None:
    alphabets = set()
    for character in user_id:
        category = unicodedata.category(character)
        if category == "Cc":
            detail = f"user_id holds the control character {_code(character)}; send the id without it"
            raise RejectionError(Reason.CONTROL, detail)
        if category in _UNSEEN:
            detail = f"user_id holds {_code(character)}, which nobody sees; send the id without it"
            raise RejectionError(Reason.UNICODE_ID, detail)
        alphabets.add(unicodedata.name(character, "").partition(" ")[0])
    if unicodedata.normalize("NFKC", user_id) != user_id:
        detail = (
            "user_id holds a variant of a plain character (full width, ligature, styled); send the plain one"
        )
        raise RejectionError(Reason.UNICODE_ID, detail)
    mixed = sorted(alphabets & _LOOK_ALIKE_ALPHABETS)
    if len(mixed) > 1:
        detail = f"user_id mixes letters of {' and '.join(mixed)}, which look alike; use one alphabet"
        raise RejectionError(Reason.UNICODE_ID, detail)


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"
