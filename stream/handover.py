"""The records that go from one id of a person to another, on a topic that only workers write, and their encoding."""

import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.errors import RejectionError
from stream.events import MAX_USER_ID_CHARS, Reason
from stream.state import UserState, decode_state, encode_state
from stream.ties import MAX_ALIASES, NO_TIES, Alias

Kind = Literal["state", "statement", "erase", "forget"]
_UserId = Annotated[str, Field(min_length=1, max_length=MAX_USER_ID_CHARS)]


class MergedId(BaseModel):
    """An id that was merged into another."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    user_id: _UserId
    #: The last hand-over of it, in 16 hexadecimal digits.
    handover_id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    merged_at_s: Annotated[int, Field(ge=0)]


class HandOver(BaseModel):
    """From one id of a person to another, between workers; nobody else writes or reads it.

    ``state``: all of ``from_user_id`` now belongs to ``user_id``. ``statement``: what the merged id still said about
    consent, which can only narrow. ``erase``: the person was erased under the merged id. ``forget``: the person was erased,
    and the redirect of ``user_id`` ends.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    schema_version: str = "1.0"
    kind: Kind
    #: The changelog of whose state this is part: several deployments may share the topics.
    changelog: Annotated[str, Field(max_length=249)]
    user_id: _UserId
    from_user_id: _UserId
    handover_id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    #: Ids that were merged before: into the one that is handed over, or all of the one that was erased.
    merged: Annotated[list[MergedId], Field(max_length=MAX_ALIASES + 2)] = []
    #: In the encoding of the changelog, as base64; empty for an erasure.
    state: str = ""


class Handed(NamedTuple):
    """A hand-over as it is taken in."""

    message: HandOver
    state: UserState

    @property
    def aliases(self) -> list[Alias]:
        """The merged ids as a state keeps them."""
        return [
            Alias(one.user_id.encode(), int(one.handover_id, 16), one.merged_at_s)
            for one in self.message.merged
        ]


def encode_handover(message: HandOver) -> bytes:
    """The record's value."""
    return orjson.dumps(message.model_dump())


def decode_handover(value: bytes | None) -> Handed:
    """The hand-over of a record's value.

    Raises:
        RejectionError: ``empty``, ``json`` or ``type``; no worker wrote it.
        StateVersionError: If a newer release did.
    """
    if not value:
        raise RejectionError(Reason.EMPTY, "the value has no bytes; only workers may write this topic")
    try:
        message = HandOver.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        reason = Reason.JSON if first["type"] == "json_invalid" else Reason.TYPE
        field = ".".join(str(part) for part in first["loc"])
        raise RejectionError(
            reason, f"no hand-over, only workers may write this topic: {field} {first['msg']}"
        ) from error
    try:
        return Handed(
            message, decode_state(b64decode(message.state, validate=True)) if message.state else UserState()
        )
    except (ValueError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise RejectionError(
            Reason.TYPE, f"no hand-over, only workers may write this topic: state {error}"
        ) from error


def state_text(state: UserState) -> str:
    """A state as it stands in a hand-over; its ties go apart, where an erasure's search finds them."""
    state.ties = NO_TIES
    return b64encode(encode_state(state)).decode()


def merged_ids(aliases: Sequence[Alias]) -> list[MergedId]:
    """Aliases as a hand-over names them."""
    return [
        MergedId(user_id=one.user.decode(), handover_id=hex16(one.handover_id), merged_at_s=one.merged_at_s)
        for one in aliases
    ]


def hex16(number: int) -> str:
    """A 64-bit id as text."""
    return f"{number:016x}"


def event_of(value: bytes, user: bytes) -> bytes:
    """An event's value with another user; a repeat gives the same bytes, by which it is known again."""
    return orjson.dumps({**orjson.loads(value), "user_id": user.decode()})
