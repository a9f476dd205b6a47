"""The input contract: one behaviour event, and the closed lists of what may happen to it."""

from enum import StrEnum
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from stream.consent import LAST_PURPOSE

SCHEMA_MAJOR: Final = "1"

EventType = Literal[
    "click",
    "view_item",
    "view_item_list",
    "search",
    "add_to_wishlist",
    "add_to_cart",
    "remove_from_cart",
    "rating",
    "review",
    "purchase",
    "refund",
    "ad_impression",
    "ad_click",
    "ad_dismiss",
]
#: Position is the stored code of a type: append only.
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)

CLICK_TOPIC: Final = "behaviour.click"
BROWSE_TOPIC: Final = "behaviour.browse"
PURCHASE_TOPIC: Final = "behaviour.purchase"
AD_TOPIC: Final = "behaviour.ad"
CONTROL_TOPIC: Final = "users.control"
#: From one id of a person to another; only workers write it.
HANDOVER_TOPIC: Final = "users.handover"
#: Position is the stored code of a topic: append only.
OWNED_TOPICS: Final[tuple[str, ...]] = (
    CLICK_TOPIC, BROWSE_TOPIC, PURCHASE_TOPIC, AD_TOPIC, CONTROL_TOPIC, HANDOVER_TOPIC,
)  # fmt: skip
BEHAVIOUR_TOPICS: Final[tuple[str, ...]] = OWNED_TOPICS[:4]
DEAD_LETTER_TOPIC: Final = "behaviour.dead-letter"
UPDATES_TOPIC: Final = "interest.updates"
DECISIONS_TOPIC: Final = "ads.decisions"
CAMPAIGNS_TOPIC: Final = "ads.campaigns"
ROLLOUT_TOPIC: Final = "models.rollout"
TEXTS_TOPIC: Final = "catalog.texts"


class Reason(StrEnum):
    """Why a record was rejected or changed; the label of its counter and the header of its dead letter."""

    EMPTY = "empty"
    MAGIC = "magic"
    JSON = "json"
    UTF8 = "utf8"
    UNICODE = "unicode"
    TOO_LARGE = "too_large"
    DEPTH = "depth"
    NUMBER = "number"
    NONFINITE = "nonfinite"
    ROOT = "root"
    MISSING = "missing"
    TYPE = "type"
    RANGE = "range"
    FIELD_LONG = "field_long"
    TOO_WIDE = "too_wide"
    EVENT_TYPE = "event_type"
    ENUM = "enum"
    VERSION = "version"
    USER_ID = "user_id"
    PII_IN_ID = "pii_in_id"
    CONTROL = "control"
    UNICODE_ID = "unicode_id"
    KEY_MISMATCH = "key_mismatch"
    WRONG_PARTITION = "wrong_partition"
    TS_NAIVE = "ts_naive"
    TS_UNIT = "ts_unit"
    TS_FUTURE = "ts_future"
    TS_INVALID = "ts_invalid"
    TS_PARSE = "ts_parse"
    ID_CONFLICT = "id_conflict"
    OUTPUT_TOO_LARGE = "output_too_large"
    CONTROL_ACTION = "control_action"
    MERGE_SELF = "merge_self"
    MERGE_LOOP = "merge_loop"


class Change(StrEnum):
    """What was normalised in an accepted record."""

    NONE = ""
    TOMBSTONE = "tombstone"
    UNKNOWN_FIELD = "unknown_field"
    RESERVED_FIELD = "reserved_field"
    NO_TIMESTAMP = "no_timestamp"
    FUTURE_CLAMPED = "future_clamped"
    NO_EVENT_ID = "no_event_id"
    LOWER_CASED = "lower_cased"
    UPPER_CASED = "upper_cased"
    NFC_ID = "nfc_id"
    CLAMPED = "clamped"
    WHOLE_NUMBER = "whole_number"
    TRUNCATED = "truncated"
    NO_TEXT = "no_text"
    NO_PRICE = "no_price"
    NULL_KEY = "null_key"
    REPARTITIONED = "repartitioned"
    SENSITIVE = "sensitive"
    CONSENT_UNREADABLE = "consent_unreadable"
    BOT = "bot"
    UNKNOWN_CAMPAIGN = "unknown_campaign"
    MERGED = "merged"
    MERGED_ELSEWHERE = "merged_elsewhere"
    UNKNOWN_USER = "unknown_user"


class Outcome(StrEnum):
    """What became of one record; each record moves the events counter by exactly one."""

    ACCEPTED = "accepted"
    NORMALISED = "normalised"
    DUPLICATE = "duplicate"
    LATE = "late"
    REPLAYED = "replayed"
    REPRODUCED = "reproduced"
    IGNORED = "ignored"
    ERASED = "erased"
    NO_CONSENT = "no_consent"
    THROTTLED = "throttled"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


MAX_USER_ID_CHARS: Final = 256
#: The encoder reads 64 tokens, about 300 characters.
MAX_TEXT_FIELD_CHARS: Final = 512
#: Fields that people read, and that are cut where others are refused.
TEXT_FIELDS: Final = frozenset(
    {"item_name", "item_brand", "item_category", *(f"item_category{level}" for level in range(2, 6))}
    | {"creative_name", "search_term"}
)
#: Above it a price is a mistake in whatever currency.
MAX_PRICE: Final = 1e12
MAX_QUANTITY: Final = 1_000_000
#: A page that was open for longer was left open.
MAX_DWELL_MS: Final = 24 * 3_600_000

# These bounds are not in the JSON Schema: 1.0 was written without them, and a schema only ever gets wider.
# What is beyond them is mended (stream.mend) or rejected.
_Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TEXT_FIELD_CHARS),
    WithJsonSchema({"type": "string", "maxLength": MAX_TEXT_FIELD_CHARS}),
]
_Price = Annotated[float, Field(ge=0.0, lt=MAX_PRICE), WithJsonSchema({"type": "number"})]
_Quantity = Annotated[int, Field(ge=0, le=MAX_QUANTITY), WithJsonSchema({"type": "integer"})]
_Dwell = Annotated[int, Field(ge=0, le=MAX_DWELL_MS), WithJsonSchema({"type": "integer"})]
_Id = Annotated[str, Field(min_length=1, max_length=256)]
_Purpose = Annotated[int, Field(ge=1, le=LAST_PURPOSE)]
_STRICT: Final = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Item(BaseModel):
    """One product of an event, in the names of GA4 e-commerce."""

    model_config = _STRICT

    item_id: _Id
    item_name: _Name | None = None
    item_brand: _Name | None = None
    item_category: _Name | None = None
    item_category2: _Name | None = None
    item_category3: _Name | None = None
    item_category4: _Name | None = None
    item_category5: _Name | None = None
    price: _Price | None = None
    quantity: _Quantity | None = None
    index: int | None = None
    item_list_id: _Id | None = None
    promotion_id: _Id | None = None
    creative_name: _Name | None = None
    #: Names the item's image in the deployment's image catalogue; another picture has another id.
    image_id: _Id | None = None


class AdReference(BaseModel):
    """The ad that an ad event is about, in the names of OpenRTB 2.6."""

    model_config = _STRICT

    cid: _Id
    crid: _Id | None = None
    decision_id: _Id | None = None


class BehaviourEvent(BaseModel):
    """One act of one user, as a shop's back end produces it.

    ``occurred_at_ms`` is event time: UTC epoch in ms, never another unit. The record key is ``user_id`` in UTF-8.
    """

    model_config = _STRICT

    event_id: _Id | None = None
    source: Annotated[str, Field(max_length=256)] = ""
    event_type: EventType
    user_id: Annotated[str, Field(max_length=MAX_USER_ID_CHARS)]
    occurred_at_ms: int | None = None
    session_id: _Id | None = None
    schema_version: Annotated[str, Field(max_length=16)] = "1.0"
    items: Annotated[list[Item], Field(max_length=200)] = []
    currency: Annotated[str, Field(max_length=3)] | None = None
    transaction_id: _Id | None = None
    search_term: _Name | None = None
    dwell_ms: _Dwell | None = None
    ad: AdReference | None = None
    generated: bool = False
    #: The user is a minor: not profiled from now on.
    minor: bool = False
    #: A known crawler, or traffic from a data centre: the producer sees the user agent and the address, we never do.
    is_bot: bool = False


class ControlEvent(BaseModel):
    """A statement about a user on ``users.control``; a null value there means ``erase``.

    ``consent`` gives the whole list of TCF purposes that the user allows, in place of any list before; what can't be
    read allows nothing. ``minor`` alone leaves the purposes as they are.

    ``merge`` says that ``anonymous_id`` is ``user_id``: all that was and will be known of the first belongs to the second.
    Its record may be keyed by either of them.
    """

    model_config = _STRICT

    action: Literal["erase", "consent", "merge"]
    user_id: Annotated[str, Field(max_length=MAX_USER_ID_CHARS)]
    purposes: Annotated[list[_Purpose], Field(max_length=LAST_PURPOSE)] | None = None
    expires_at_ms: Annotated[int, Field(ge=0)] | None = None
    minor: bool | None = None
    #: Of ``merge`` alone: a visitor's id before the login, as Segment's ``anonymousId``.
    anonymous_id: Annotated[str, Field(max_length=MAX_USER_ID_CHARS)] | None = None
