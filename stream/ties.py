"""Which ids are one person: what a user's state keeps of merges, and its encoding.

A merged user's state is a *redirect*: it says into whom, and what still comes of that id is passed on. The other end
keeps the id as an *alias*. Both are kept for as long as inputs may be: nothing of the id can come any more.

Encoded as JSON text, with the ids as they are: the search of an erasure must find them.
"""

from typing import Final, NamedTuple

import orjson

from stream.window import DAY_MS

#: For as long a redirect passes things on: longer than inputs may be kept (INTERESTFLOW_PRIVACY__RETENTION_DAYS).
REDIRECT_MS: Final = 60 * DAY_MS
#: Ids that were merged into one user within that time. Beyond it the oldest is forgotten: its redirect goes on, but an
#: erasure of the user no longer finds it. With the longest ids they take 17 KB.
MAX_ALIASES: Final = 16


class Alias(NamedTuple):
    """An id that was merged into the user."""

    user: bytes
    #: The last hand-over from it that was taken in; a repeat is known by it.
    handover_id: int
    #: Record time (s) of that.
    merged_at_s: int


class Ties(NamedTuple):
    """Of one user to other ids of the same person."""

    #: Whom this user was merged into; empty: nobody.
    into: bytes = b""
    #: The hand-over that is still to be sent, 0 if none is.
    pending: int = 0
    aliases: tuple[Alias, ...] = ()

    def with_alias(self, alias: Alias) -> "Ties":
        """Takes the place of an older one of the same id; those whose redirect has ended go."""
        others = [one for one in self.alive(alias.merged_at_s * 1000) if one.user != alias.user]
        return self._replace(aliases=(*others, alias)[-MAX_ALIASES:])

    def alive(self, now_ms: int) -> list[Alias]:
        """Aliases that may still have a redirect."""
        return [one for one in self.aliases if now_ms < one.merged_at_s * 1000 + REDIRECT_MS]

    def handover_of(self, user: bytes) -> int | None:
        """The last hand-over taken in from an id."""
        return next((one.handover_id for one in self.aliases if one.user == user), None)


#: Of most users.
NO_TIES: Final = Ties()


def encode_ties(ties: Ties) -> bytes:
    """As bytes; none for no ties."""
    if ties == NO_TIES:
        return b""
    aliases = [[one.user.decode(), one.handover_id, one.merged_at_s] for one in ties.aliases]
    return orjson.dumps([ties.into.decode(), ties.pending, aliases])


def decode_ties(data: bytes) -> Ties:
    """What :func:`encode_ties` encoded."""
    if not data:
        return NO_TIES
    into, pending, aliases = orjson.loads(data)
    return Ties(into.encode(), pending, tuple(Alias(user.encode(), *numbers) for user, *numbers in aliases))
