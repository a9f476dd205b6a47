"""What a replay adds to the contracts: headers of the records that it sends, and the marker that it leaves."""

from typing import Any, Final

from stream.dead_letter import ATTEMPT_HEADER, LETTER_HEADER, MARKER_HEADER

MARKER: Final = "dead-letter-replayed"
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
