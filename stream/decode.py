"""Raw record to behaviour event: each bad input gets one reason, and nothing raises anything else."""

import re
import unicodedata
from typing import Any, Final, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from stream.controls import check_controls, may_hold_controls
from stream.currencies import CURRENCIES
from stream.errors import RejectionError
from stream.events import (
    MAX_USER_ID_CHARS,
    SCHEMA_MAJOR,
    AdReference,
    BehaviourEvent,
    Change,
    ControlEvent,
    Item,
    Reason,
)
from stream.mend import mend
from stream.raw_value import MAX_FIELDS, oversized, packed, too_many_fields
from stream.user_ids import is_ordinary, require_user_id, settle_user_id

#: Above this a value is a mistake or an attack: a full event with 200 items stays below it.
MAX_VALUE_BYTES: Final = 65_536
#: Clocks of shop front ends run ahead by minutes, not more.
MAX_FUTURE_MS: Final = 5 * 60_000
#: Event times before 2000-01-01 are unset clocks.
MIN_EVENT_MS: Final = 946_684_800_000
#: The state keeps seconds in 32 bits: until 2106.
MAX_EVENT_MS: Final = (2**32 - 1) * 1000
#: Numbers of this size can only be seconds (2001 to 2286) where ms are expected …
_SECONDS: Final = range(1_000_000_000, 10_000_000_000)
#: … and from here on only µs or ns (as ms: after the year 33658).
_MICROSECONDS: Final = 1_000_000_000_000_000

_EVENT = TypeAdapter(BehaviourEvent).validator.validate_python
_CONTROL = TypeAdapter(ControlEvent).validator.validate_python
_EVENT_FIELDS: Final = frozenset(BehaviourEvent.model_fields)
_ITEM_FIELDS: Final = frozenset(Item.model_fields)
_AD_FIELDS: Final = frozenset(AdReference.model_fields)
#: Keys that frameworks give a meaning to; never ours, so their presence is a probe.
_RESERVED: Final = re.compile(r"__.*|dumps")
#: Looked up for every event, and looking a member up in its enum takes five times as long.
_NO_CHANGE: Final = Change.NONE
_CURRENCY_OR_NONE: Final = CURRENCIES | {None, ""}
_ISO_WITHOUT_OFFSET: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?")
_NONFINITE: Final = re.compile(r"[+-]?(nan|inf(inity)?)\b", re.IGNORECASE)
_INTEGER: Final = re.compile(r"-?\d++(?![.eE])")
_EVENT_TIME_KEY: Final = re.compile(r'"occurred_at_ms"\s*:\s*-?$')

#: orjson's words (prefixes of its message after lower-casing) to our reason, first match wins.
_JSON_REASONS: Final[tuple[tuple[str, Reason], ...]] = (
    ("depth limit", Reason.DEPTH),
    ("recursion limit", Reason.DEPTH),
    ("no low surrogate", Reason.UNICODE),
    ("invalid low surrogate", Reason.UNICODE),
    ("invalid high surrogate", Reason.UNICODE),
    ("utf-8 byte order mark", Reason.JSON),
    ("str is not valid utf-8", Reason.UTF8),
)

#: pydantic's error types to our reason; anything else is a wrong type.
_FIELD_REASONS: Final[dict[str, Reason]] = {
    "missing": Reason.MISSING,
    "string_too_long": Reason.FIELD_LONG,
    "too_long": Reason.TOO_WIDE,
    "string_too_short": Reason.RANGE,
    "finite_number": Reason.NONFINITE,
    "greater_than_equal": Reason.RANGE,
    "less_than_equal": Reason.RANGE,
    "less_than": Reason.RANGE,
    "literal_error": Reason.EVENT_TYPE,
}


class Decoded(NamedTuple):
    """A valid event, its event time (UTC ms, clamped) and what had to be changed."""

    event: BehaviourEvent
    occurred_at_ms: int
    change: Change


def decode_event(value: bytes | None, record_ms: int) -> Decoded:
    """Give the behaviour event of a record's value.

    Args:
        value: The raw bytes; must be one JSON object in UTF-8.
        record_ms: The record's timestamp, which stands in for a missing event time and bounds the future.

    Raises:
        RejectionError: With a reason of :class:`Reason`; the record belongs into the dead letter.
    """
    check_record_time(record_ms)
    document = parse_object(value)
    assert value is not None
    mended = _NO_CHANGE
    try:
        event: BehaviourEvent = _EVENT(document)
    except ValidationError as error:
        event, mended = _mended(document, error)
    _check_version(event)
    if not is_ordinary(event.user_id) or event.currency not in _CURRENCY_OR_NONE:
        event, settled = _settled(event)
        mended = mended or settled
    if may_hold_controls(value):
        check_controls(event)
    change = _unknown_fields(document) or mended
    if event.event_type == "purchase" and not change and _has_no_price(event.items):
        change = Change.NO_PRICE
    if event.event_id is None:
        change = change or Change.NO_EVENT_ID
    if event.occurred_at_ms is None:
        return Decoded(event, record_ms, change or Change.NO_TIMESTAMP)
    occurred = event.occurred_at_ms
    if occurred > record_ms or occurred < MIN_EVENT_MS:
        _check_event_time(occurred, record_ms)
        return Decoded(event, record_ms, change or Change.FUTURE_CLAMPED)
    return Decoded(event, occurred, change)


def decode_control(value: bytes) -> ControlEvent:
    """Give the statement of a ``users.control`` record.

    Raises:
        RejectionError: As :func:`decode_event`; an action that isn't known is ``control_action``.
    """
    document = parse_object(value)
    try:
        event: ControlEvent = _CONTROL(document)
    except ValidationError as error:
        rejection = _field_rejection(error, document)
        if rejection.reason == Reason.EVENT_TYPE:
            raise RejectionError(Reason.CONTROL_ACTION, rejection.detail) from error
        raise rejection from error
    require_user_id(event.user_id)
    settled = unicodedata.normalize("NFC", event.user_id)
    return event if settled == event.user_id else event.model_copy(update={"user_id": settled})


def decode_erasure_key(key: bytes | None) -> str:
    """Give the user whom a null value on ``users.control`` erases: the one of the key.

    Raises:
        RejectionError: ``user_id``, ``utf8`` or ``field_long``; nobody has such an id.
    """
    try:
        user_id = (key or b"").decode()
    except UnicodeDecodeError as error:
        raise RejectionError(Reason.UTF8, f"the key is not UTF-8: {error.reason}") from error
    if len(user_id) > MAX_USER_ID_CHARS:
        detail = f"the key has {len(user_id)} characters, a user id has at most {MAX_USER_ID_CHARS}"
        raise RejectionError(Reason.FIELD_LONG, detail)
    require_user_id(user_id)
    return unicodedata.normalize("NFC", user_id)


def check_record_time(record_ms: int) -> None:
    """Refuse a record whose timestamp can't be a time: nothing about it could be ordered or expire.

    Raises:
        RejectionError: ``ts_invalid``.
    """
    if not MIN_EVENT_MS <= record_ms <= MAX_EVENT_MS:
        detail = f"the record's timestamp is {record_ms}; let the broker set it (message.timestamp.type=LogAppendTime)"
        raise RejectionError(Reason.TS_INVALID, detail)


def parse_object(value: bytes | None) -> dict[str, Any]:
    """Give the JSON object in a record's value.

    Raises:
        RejectionError: ``empty``, ``too_large``, ``root`` or what is wrong with the JSON.
    """
    if not value:
        raise RejectionError(Reason.EMPTY, "the value has no bytes; send one JSON object")
    if len(value) > MAX_VALUE_BYTES:
        raise _too_large(value)
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise packed(value) or _json_rejection(error) from error
    if type(document) is not dict:
        detail = f"the value is a JSON {type(document).__name__}, not an object"
        raise RejectionError(Reason.ROOT, detail)
    return document


def _too_large(value: bytes) -> RejectionError:
    """Too large, unless what made it so shows in its first bytes."""
    try:
        orjson.loads(value[:MAX_VALUE_BYTES])
    except orjson.JSONDecodeError as error:
        rejection = _json_rejection(error)
        if rejection.reason is Reason.DEPTH:
            return rejection
    return packed(value) or oversized(value, MAX_VALUE_BYTES)


def _json_rejection(error: orjson.JSONDecodeError) -> RejectionError:
    message, document, position = error.msg.lower(), error.doc, error.pos
    reason = next((reason for words, reason in _JSON_REASONS if message.startswith(words)), Reason.JSON)
    if message.startswith("number is infinity"):
        reason = Reason.NUMBER if _INTEGER.match(document, position) else Reason.NONFINITE
    elif reason is Reason.JSON and _NONFINITE.match(document, position):
        reason = Reason.NONFINITE
    if reason is Reason.NONFINITE and _EVENT_TIME_KEY.search(document[:position]):
        reason = Reason.TS_INVALID
    return RejectionError(reason, f"{error.msg} at character {position}")


def _field_rejection(error: ValidationError, document: dict[str, Any]) -> RejectionError:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    reason = _FIELD_REASONS.get(first["type"], Reason.TYPE)
    if reason is Reason.TYPE and field == "occurred_at_ms":
        reason = _timestamp_type_reason(document["occurred_at_ms"])
    elif reason is Reason.TYPE and isinstance(first["input"], float) and abs(first["input"]) >= 2**63:
        reason = Reason.NUMBER  # orjson reads integers beyond 64 bits as floats
    elif reason is Reason.TYPE and field.endswith("quantity") and isinstance(first["input"], float):
        reason = Reason.RANGE
    return RejectionError(reason, f"{field}: {first['msg']}")


def _timestamp_type_reason(value: object) -> Reason:
    if isinstance(value, str) and _ISO_WITHOUT_OFFSET.fullmatch(value.strip()):
        return Reason.TS_NAIVE
    if isinstance(value, float) or (isinstance(value, str) and _NONFINITE.fullmatch(value.strip())):
        return Reason.TS_INVALID
    return Reason.TS_PARSE if isinstance(value, str) and not value.strip().isdigit() else Reason.TYPE


def _check_event_time(occurred_ms: int, record_ms: int) -> None:
    """Pass only what may be clamped to the record's time."""
    if occurred_ms in _SECONDS or occurred_ms >= _MICROSECONDS:
        detail = f"occurred_at_ms is {occurred_ms}; send UTC epoch milliseconds"
        raise RejectionError(Reason.TS_UNIT, detail)
    if occurred_ms < MIN_EVENT_MS:
        detail = f"occurred_at_ms is {occurred_ms}, before the year 2000"
        raise RejectionError(Reason.TS_INVALID, detail)
    if occurred_ms > record_ms + MAX_FUTURE_MS:
        ahead = (occurred_ms - record_ms) // 1000
        raise RejectionError(Reason.TS_FUTURE, f"occurred_at_ms is {ahead} s after the record's timestamp")


def _mended(document: dict[str, Any], error: ValidationError) -> tuple[BehaviourEvent, Change]:
    """The event after what can be mended was, and what that was."""
    mended = mend(document, error.errors(include_url=False, include_context=False))
    if not mended:
        raise _field_rejection(error, document) from error
    try:
        return _EVENT(document), mended
    except ValidationError as still:
        raise _field_rejection(still, document) from still


def _check_version(event: BehaviourEvent) -> None:
    version = event.schema_version
    if version != "1.0" and version.partition(".")[0] != SCHEMA_MAJOR:
        detail = f"schema_version is {version!r}, this release reads {SCHEMA_MAJOR}.x"
        raise RejectionError(Reason.VERSION, detail)


def _has_no_price(items: list[Item]) -> bool:
    return bool(items) and items[0].price is None and all(one.price is None for one in items)


def _settled(event: BehaviourEvent) -> tuple[BehaviourEvent, Change]:
    """The event in the one spelling of its user id and of its currency, and what that changed."""
    settled, currency = settle_user_id(event.user_id), event.currency
    if settled != event.user_id:
        return event.model_copy(update={"user_id": settled}), Change.NFC_ID
    if currency is None or currency in _CURRENCY_OR_NONE:
        return event, _NO_CHANGE
    if currency.upper() not in CURRENCIES:
        detail = f"currency is {currency!r}; send the code of ISO 4217, as EUR, or leave it out"
        raise RejectionError(Reason.ENUM, detail)
    return event.model_copy(update={"currency": currency.upper()}), Change.UPPER_CASED


def _unknown_fields(document: dict[str, Any]) -> Change:
    """What the models drop: at the top, in an item, or in the ad."""
    unknown: set[str] = set()
    if not document.keys() <= _EVENT_FIELDS:
        unknown |= document.keys() - _EVENT_FIELDS
    for item in document.get("items", ()):
        if not item.keys() <= _ITEM_FIELDS:
            unknown |= item.keys() - _ITEM_FIELDS
    if (ad := document.get("ad")) is not None:
        unknown |= ad.keys() - _AD_FIELDS
    if not unknown:
        return _NO_CHANGE
    if len(unknown) > MAX_FIELDS:
        raise too_many_fields(len(unknown))
    reserved = any(_RESERVED.fullmatch(key) for key in unknown)
    return Change.RESERVED_FIELD if reserved else Change.UNKNOWN_FIELD
