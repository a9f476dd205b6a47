"""Dead letters as text for a person and as JSON for a program.

What a letter holds was written by anyone: nothing of it reaches a terminal unescaped. Keys and values are personal
data and are shown by ``why`` alone.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from stream.dead_letter import ERROR_PREFIX, LETTER_HEADER
from stream.dlq.cures import cure
from stream.dlq.letters import Letter

_PREVIEW_CHARS: Final = 2000
_MESSAGE_CHARS: Final = 100
_TRACE: Final = ERROR_PREFIX + "stacktrace"
#: The last ms that datetime can say; record timestamps are any 64 bits.
_LAST_MS: Final = 253_402_300_799_999


def table(letters: Sequence[Letter], replayed: Sequence[bool]) -> str:
    """One line for each letter below a line of names."""
    names = ("letter", "written (UTC)", "reason", "record", "attempt", "replayed", "message")
    rows = [
        (
            str(letter.place),
            time_text(letter.timestamp_ms),
            escaped(letter.reason),
            record_text(letter),
            str(letter.attempt),
            "yes" if was_replayed else "no",
            _shortened(escaped(letter.message), _MESSAGE_CHARS),
        )
        for letter, was_replayed in zip(letters, replayed, strict=True)
    ]
    return columns([names, *rows])


def document(letter: Letter, *, was_replayed: bool) -> dict[str, Any]:
    """A letter as a line of JSON says it: without key and value."""
    return {
        "letter": str(letter.place),
        "written_at_ms": letter.timestamp_ms,
        "reason": letter.reason,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "attempt": letter.attempt,
        "replayed": was_replayed,
        "cut": letter.is_cut,
        "message": letter.message,
    }


def why(letter: Letter, *, was_replayed: bool) -> str:
    """Everything about one letter, and what to do."""
    former = letter.headers.get(LETTER_HEADER)
    lines = [
        ("letter", f"{letter.place}, written {time_text(letter.timestamp_ms)} UTC"),
        ("reason", escaped(letter.reason)),
        ("message", escaped(letter.message)),
        ("record", record_text(letter)),
        ("attempt", str(letter.attempt) + (f", replayed from {preview(former)}" if former else "")),
        ("replayed", "yes" if was_replayed else "no"),
        ("to do", cure(letter.reason)),
        (_sized("key", letter.key), preview(letter.key)),
        (_sized("value", letter.value), preview(letter.value)),
    ]
    headers = [(name, preview(content)) for name, content in letter.headers.items() if name != _TRACE]
    trace = letter.headers.get(_TRACE, b"").decode(errors="backslashreplace").rstrip("\n").split("\n")
    return "\n".join([
        columns(lines),
        "",
        "headers",
        *(f"  {line}" for line in columns([(escaped(name), text) for name, text in headers]).split("\n")),
        *(f"  {escaped(line)}" for line in trace),
    ])  # fmt: skip


def preview(content: bytes | None) -> str:
    """The start of some bytes as text that any terminal shows as it is."""
    if content is None:
        return "(null)"
    text = escaped(content[: 4 * _PREVIEW_CHARS].decode(errors="backslashreplace"))
    return _shortened(text, _PREVIEW_CHARS)


def escaped(text: str) -> str:
    """A text without anything that could command a terminal, or turn its line around."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines whose columns stand below each other; the last is as wide as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] if rows else []
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )


def record_text(letter: Letter) -> str:
    """Where the rejected record stood."""
    return f"{escaped(letter.topic)} {letter.partition}:{letter.offset}"


def time_text(at_ms: int) -> str:
    """A time in UTC to the second."""
    return f"{_time(at_ms):%Y-%m-%d %H:%M:%S}"


def hour_text(at_ms: int) -> str:
    """A time in UTC to the hour."""
    return f"{_time(at_ms):%Y-%m-%d %H}:00"


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(min(max(at_ms, 0), _LAST_MS) / 1000, UTC)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _sized(name: str, content: bytes | None) -> str:
    return name if content is None else f"{name} ({len(content)} bytes)"
