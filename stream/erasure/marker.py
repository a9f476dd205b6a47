"""The key under which an erased user's marker is kept: a keyed hash, so that the id itself is gone from the state.

A marker key starts with a byte that no UTF-8 text has, so it can't be anybody's id. It is kept on the partition that the
user had, because it is looked for there.
"""

import hmac
from typing import Final

_PREFIX: Final = b"\xff"
_HASH_BYTES: Final = 16


def marker_key(user: bytes, secret: bytes) -> bytes:
    """The key of a user's marker: HMAC-SHA-256, cut to 128 bits.

    Args:
        user: The user's key.
        secret: Who has it can ask whether a given id was erased; without one anybody can.
    """
    return _PREFIX + hmac.digest(secret, user, "sha256")[:_HASH_BYTES]


def is_marker_key(key: bytes) -> bool:
    """Whether a key of the state is that of a marker, not a user's."""
    return key.startswith(_PREFIX)
