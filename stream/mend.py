"""What a wrong event is mended by, where only one reading of it is possible.

It is looked at only after the contract refused an event: a good one pays nothing for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stream.events import EVENT_TYPES, MAX_DWELL_MS, MAX_TEXT_FIELD_CHARS, TEXT_FIELDS, Change

_TYPES: Final = frozenset(EVENT_TYPES)
#: Integers that some writers send as 2.0.
_WHOLE_NUMBERS: Final = frozenset({"quantity", "index", "dwell_ms"})
_INT64: Final = 2**63


def mend(document: dict[str, Any], errors: Sequence[Mapping[str, Any]]) -> Change:
    """Mend an event's document in place.

    Args:
        document: As it was parsed.
        errors: All that pydantic says is wrong with it.

    Returns:
        The first mend; ``Change.NONE`` if nothing was. Something else may still be wrong.
    """
    changes = [_mend(document, error) for error in errors]
    return next(filter(None, changes), Change.NONE)


def _mend(document: dict[str, Any], error: Mapping[str, Any]) -> Change:
    place, value = error["loc"], error["input"]
    name = place[-1] if place else ""
    change, mended = _mended(name, value, error["type"])
    if change:
        within: Any = document
        for step in place[:-1]:
            within = within[step]
        within[name] = mended
    return change


def _mended(name: str | int, value: Any, wrong: str) -> tuple[Change, object]:
    if name == "event_type" and isinstance(value, str) and value.lower() in _TYPES:
        return Change.LOWER_CASED, value.lower()
    if name in TEXT_FIELDS and wrong == "string_too_short":
        return Change.NO_TEXT, None
    if name in TEXT_FIELDS and wrong == "string_too_long":
        return Change.TRUNCATED, value[:MAX_TEXT_FIELD_CHARS]
    if name in _WHOLE_NUMBERS and isinstance(value, float) and value.is_integer() and abs(value) < _INT64:
        return Change.WHOLE_NUMBER, int(value)
    if name == "dwell_ms" and wrong in ("greater_than_equal", "less_than_equal"):
        return Change.CLAMPED, min(max(value, 0), MAX_DWELL_MS)
    return Change.NONE, None
