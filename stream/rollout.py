"""Which model version scores whom: the contract of ``models.rollout``, and the steps from one rollout to the next.

Two records per app, each the latest of its key in a compacted topic: what a person ordered (key: the app id), and what
a worker took back by itself (key: the app id and ``/rolled-back``). A rollback counts only for the order that it names,
so that the two may be written at once, and every worker, however late it reads, comes to the same end.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream.errors import ConfigurationError, RejectionError
from stream.hashing import hash64

Mode = Literal["none", "shadow", "canary"]
Role = Literal["champion", "challenger"]
#: A version directory of ``interest_head``; its encoder is the one that it was trained with.
Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]

_ROLLED_BACK: Final = b"/rolled-back"
_HASHES: Final = 2.0**64


class Rollout(BaseModel):
    """Champion, challenger, and who of them scores whom.

    ``shadow``: the challenger scores what the champion scores, and nothing of it is published. ``canary``: it scores
    the users of its share, and they get its updates. ``based_on`` names the order that a worker's rollback ended.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: str = "1.0"
    rollout_id: Annotated[str, Field(min_length=1, max_length=64)]
    based_on: str | None = None
    champion: Version
    challenger: Version | None = None
    mode: Mode = "none"
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    #: The champion before this one, to which a rollback leads.
    previous: Version | None = None
    changed_at_ms: Annotated[int, Field(ge=0)]
    reason: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _name_a_challenger_by_its_mode(self) -> Self:
        if (self.challenger is None) != (self.mode == "none"):
            raise ValueError(f"mode {self.mode} with challenger {self.challenger}")
        if self.challenger == self.champion:
            raise ValueError(f"champion and challenger are both version {self.champion}")
        return self

    def to_bytes(self) -> bytes:
        """The record's value."""
        return orjson.dumps(self.model_dump())


class ModelNames(NamedTuple):
    """What a message says of the rollout that it was made under."""

    role: Role
    """Of the version that scored."""
    champion: str
    challenger: str | None


class Stamp(NamedTuple):
    """Of a change: its own id, and when it was made."""

    rollout_id: str
    at_ms: int


class RolloutRecords(NamedTuple):
    """What the topic says of one app."""

    order: Rollout | None = None
    rolled_back: Rollout | None = None

    @property
    def in_force(self) -> Rollout | None:
        """What workers follow; None: each takes the newest version of its repository."""
        order, rolled_back = self
        if order is not None and rolled_back is not None and rolled_back.based_on == order.rollout_id:
            return rolled_back
        return order


def order_key(app_id: str) -> bytes:
    """Key of the record that a person's command writes."""
    return app_id.encode()


def rolled_back_key(app_id: str) -> bytes:
    """Key of the record that a worker's automatic rollback writes."""
    return app_id.encode() + _ROLLED_BACK


def parse_rollout(value: bytes | None) -> Rollout | None:
    """The rollout of a record; None of a tombstone.

    Raises:
        RejectionError: It is none; what was known stays in force.
    """
    if value is None:
        return None
    try:
        return Rollout.model_validate_json(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "record"
        raise RejectionError("rollout", f"{where}: {first['msg']}") from error


def taken_in(records: RolloutRecords, app_id: str, key: bytes | None, value: bytes | None) -> RolloutRecords:
    """The records after one more of the topic; those of other apps change nothing.

    Raises:
        RejectionError: The value is no rollout.
    """
    if key == order_key(app_id):
        return records._replace(order=parse_rollout(value))
    if key == rolled_back_key(app_id):
        return records._replace(rolled_back=parse_rollout(value))
    return records


def goes_to_challenger(rollout: Rollout | None, user_id: bytes) -> bool:
    """Whether this user is scored by the challenger; a larger share only adds users."""
    if rollout is None or rollout.mode != "canary":
        return False
    # With the version, so that it is not always the same users who try new models.
    drawn = hash64(b"\0".join((str(rollout.challenger).encode(), user_id))) / _HASHES
    return drawn < rollout.share


# -- steps -------------------------------------------------------------------------------------------------------


def tried(now: Rollout | None, champion: str, challenger: str, share: float | None, stamp: Stamp) -> Rollout:
    """A challenger beside the champion: in the shadow, or for a share of the users.

    Args:
        now: What is in force.
        champion: Used if nothing is in force yet.
        challenger: Version to try.
        share: Of the users; None: shadow.
        stamp: Of this change.

    Raises:
        ConfigurationError: It is the champion itself.
    """
    pinned = champion if now is None else now.champion
    if challenger == pinned:
        raise ConfigurationError(
            f"version {challenger} is the champion already, and can't be tried beside itself: name another version "
            "(`interestflow model status` lists them)"
        )
    return Rollout(
        rollout_id=stamp.rollout_id,
        champion=pinned,
        challenger=challenger,
        mode="shadow" if share is None else "canary",
        share=share or 0.0,
        previous=None if now is None else now.previous,
        changed_at_ms=stamp.at_ms,
        reason="ordered",
    )


def promoted(now: Rollout | None, version: str, before: str | None, stamp: Stamp) -> Rollout:
    """That version as the champion for all users, no challenger; ``before`` is the champion if nothing is in force."""
    last = before if now is None else now.champion
    return Rollout(
        rollout_id=stamp.rollout_id,
        champion=version,
        # Promoting it once more must not forget what to go back to.
        previous=last if last != version else (None if now is None else now.previous),
        changed_at_ms=stamp.at_ms,
        reason="promoted",
    )


def taken_back(now: Rollout | None, reason: str, stamp: Stamp) -> Rollout:
    """Without the challenger if there is one; else the champion before this one.

    Raises:
        ConfigurationError: There is neither.
    """
    if now is None or (now.challenger is None and now.previous is None):
        raise ConfigurationError(
            "there is no challenger to take back and no champion before this one: name the version that shall score, "
            "by `interestflow model promote VERSION`"
        )
    changes: Mapping[str, object] = (
        {"challenger": None, "mode": "none", "share": 0.0}
        if now.challenger is not None
        else {"champion": now.previous, "previous": None}
    )
    stamped = {
        "rollout_id": stamp.rollout_id,
        "based_on": now.rollout_id,
        "changed_at_ms": stamp.at_ms,
        "reason": reason[:1000],
    }
    return now.model_copy(update={**changes, **stamped})
