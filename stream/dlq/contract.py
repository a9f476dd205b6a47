"""Dead letters in the contracts: their headers, those of what a replay sends, and the marker that it leaves."""

from typing import Any, Final

from stream.dead_letter import ATTEMPT_HEADER, LETTER_HEADER, MARKER_HEADER, REDACTED_HEADER

MARKER: Final = "dead-letter-replayed"
#: Header name to what it says; in every dead letter.
DEAD_LETTER_HEADERS: Final = {
    "__streams.errors.exception": "Class of the error.",
    "__streams.errors.message": "What is wrong, with names and values.",
    "__streams.errors.stacktrace": "The end of the stack trace, at most 4 KiB.",
    "__streams.errors.topic": "Topic of the rejected record.",
    "__streams.errors.partition": "Its partition, decimal.",
    "__streams.errors.offset": "Its offset, decimal.",
    "interestflow.reason": "The closed reason.",
    "interestflow.schema-version": "Newest version of the input contract that the worker reads.",
    "interestflow.app-version": "Version of the worker.",
    "interestflow.timestamp-ms": "Timestamp of the rejected record, UTC ms, decimal.",
    "interestflow.attempt": "How often the record was tried, decimal: 1, and one more with each replay.",
}
#: Only there if the start alone was kept.
CUT_HEADERS: Final = {
    "interestflow.key-bytes": "Length of the whole key, decimal.",
    "interestflow.key-sha256": "SHA-256 of the whole key, hexadecimal.",
    "interestflow.value-bytes": "Length of the whole value, decimal.",
    "interestflow.value-sha256": "SHA-256 of the whole value, hexadecimal.",
}
#: Only there if key and value were left out, because the id names a person.
REDACTED_HEADERS: Final = {REDACTED_HEADER: "What was left out: key,value."}
#: Header name to what it says; of a replayed record, and of its dead letter if it is rejected again.
REPLAYED_HEADERS: Final = {LETTER_HEADER: "The dead letter that was replayed, as partition:offset."}
INPUT_HEADERS: Final = {
    ATTEMPT_HEADER: "Set by `interestflow dlq replay`: which try of the record this is, decimal.",
    **REPLAYED_HEADERS,
}


def marker_message() -> dict[str, Any]:
    """The marker as a message of the AsyncAPI document."""
    text = "The dead letter that was replayed, as partition:offset; the marker stands on the same partition."
    return {
        "name": MARKER,
        "summary": "Says that a dead letter was replayed. It has neither key nor value nor any header of a dead letter.",
        "headers": {
            "type": "object",
            "properties": {MARKER_HEADER: {"type": "string", "description": text}},
            "required": [MARKER_HEADER],
        },
        "payload": {},
    }
