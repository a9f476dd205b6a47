"""Rows of a shop's table to events of the input contract, by a mapping. Nothing here reads or writes."""

from collections.abc import Mapping as Row
from datetime import datetime
from typing import Any, Final

from stream.errors import RejectionError
from stream.events import Reason
from trainer.events.mapping import EPOCH_MS, EPOCH_SECONDS, ISO, Mapping

#: Cells of one row by column; every cell is text, as in CSV.
Cells = Row[str, str | None]

_PLAIN_FIELDS: Final = ("user_id", "event_id", "transaction_id", "session_id", "search_term")
_ITEM_FIELDS: Final = ("item_id", "item_name", "item_brand")
_ITEM_COLUMNS: Final = (*_ITEM_FIELDS, "price", "quantity")


class LineReader:
    """Reads single rows; empty cells and cells of white space count as not given."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        columns = mapping.columns
        self._plain = [(field, getattr(columns, field)) for field in _PLAIN_FIELDS if getattr(columns, field)]
        self._has_items = bool(columns.item_categories) or any(
            getattr(columns, field) for field in _ITEM_COLUMNS
        )

    def head(self, row: Cells) -> dict[str, Any]:
        """The event of a row without its item.

        Raises:
            RejectionError: If a field that every event has is missing or can't be read.
        """
        mapping, columns = self._mapping, self._mapping.columns
        event: dict[str, Any] = {field: text for field, column in self._plain if (text := _cell(row, column))}
        if "user_id" not in event:
            raise RejectionError(Reason.MISSING, f"user_id: the column {columns.user_id!r} is empty")
        word = _cell(row, columns.event_type) or mapping.constants.event_type
        if word is None:
            raise RejectionError(Reason.MISSING, f"event_type: the column {columns.event_type!r} is empty")
        event["event_type"] = mapping.event_types.get(word, word)
        event["source"] = mapping.source
        event["occurred_at_ms"] = self._time(row, columns.occurred_at)
        currency = _cell(row, columns.currency) or mapping.constants.currency
        if currency:
            event["currency"] = currency
        if cid := _cell(row, columns.cid):
            event["ad"] = {"cid": cid, "crid": _cell(row, columns.crid)}
        return event

    def received_at_ms(self, row: Cells, occurred_at_ms: int) -> int:
        """When a row's event was known, UTC ms; never before it happened.

        Raises:
            RejectionError: If the column is mapped and can't be read.
        """
        column = self._mapping.columns.received_at
        if column is None or _cell(row, column) is None:
            return occurred_at_ms
        return max(self._time(row, column), occurred_at_ms)

    def item(self, row: Cells) -> dict[str, Any] | None:
        """The item of a row; None if it has none.

        Raises:
            RejectionError: If it has one without an id or with a number that can't be read.
        """
        if not self._has_items:
            return None
        columns = self._mapping.columns
        item: dict[str, Any] = {
            field: text for field in _ITEM_FIELDS if (text := _cell(row, getattr(columns, field)))
        }
        named = [text for column in columns.item_categories if (text := _cell(row, column))]
        for level, text in enumerate(named, start=1):
            item["item_category" if level == 1 else f"item_category{level}"] = text
        if not item:
            return None
        # Without an id the name stands in: the model reads names, and ids only tell products apart.
        item.setdefault("item_id", item.get("item_name") or named[-1])
        item["item_id"] = item["item_id"][:256]
        if image_id := _cell(row, columns.image_id):
            item["image_id"] = image_id
        if (price := self._number(row, columns.price)) is not None:
            item["price"] = price
        if (quantity := self._number(row, columns.quantity)) is not None:
            item["quantity"] = int(quantity) if quantity.is_integer() else quantity
        return item

    def _time(self, row: Cells, column: str) -> int:
        text = _cell(row, column)
        if text is None:
            raise RejectionError(Reason.MISSING, f"the time in the column {column!r} is empty")
        times = self._mapping.times
        try:
            if times.format == EPOCH_MS:
                return int(text)
            if times.format == EPOCH_SECONDS:
                return round(float(text) * 1000)
            moment = datetime.fromisoformat(text) if times.format == ISO else _parsed(text, times.format)
        except (ValueError, OverflowError) as error:
            detail = f"{column!r} is {text!r}, which is no time of the form {times.format!r}"
            raise RejectionError(Reason.TS_PARSE, detail) from error
        if moment.tzinfo is None:
            if times.zone_info is None:
                detail = f"{column!r} is {text!r}, without an offset: give times.zone in the mapping"
                raise RejectionError(Reason.TS_NAIVE, detail)
            moment = moment.replace(tzinfo=times.zone_info)
        return round(moment.timestamp() * 1000)

    def _number(self, row: Cells, column: str | None) -> float | None:
        text = _cell(row, column)
        if text is None:
            return None
        decimal = self._mapping.numbers.decimal
        plain = text.replace("." if decimal == "," else ",", "").replace(decimal, ".")
        try:
            return float(plain)
        except ValueError as error:
            raise RejectionError(Reason.TYPE, f"{column!r} is {text!r}, which is no number") from error


def _cell(row: Cells, column: str | None) -> str | None:
    text = None if column is None else row[column]
    return (text.strip() or None) if text else None


def _parsed(text: str, form: str) -> datetime:
    return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is the mapping's
