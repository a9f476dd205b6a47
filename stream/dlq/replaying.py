"""Which dead letters can be replayed, what is sent for each, and the marker that remembers it.

A replay sends first and marks then. A crash between the two repeats a record, which its event id makes harmless; the
other order could lose one. The marker stands on the dead-letter topic itself, on the letter's own partition: there
retention and purges take it only after its letter, no further topic or group has to be looked after, and it
holds for every filter that the letter may be chosen by.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from stream.dead_letter import (
    ATTEMPT_HEADER,
    LETTER_HEADER,
    MARKER_HEADER,
    REDACTED_HEADER,
    TIMESTAMP_HEADER,
)
from stream.dlq.letters import UNKNOWN, Letter, Place
from stream.dlq.show import escaped
from stream.events import OWNED_TOPICS
from stream.partitioner import Partitioner

_MAX_TIMESTAMP_DIGITS: Final = 15


class Rules(NamedTuple):
    """What a replay goes by."""

    partition_of: Partitioner
    #: Letters of this attempt or a later one stay where they are.
    max_attempts: int
    #: Send letters again that were replayed.
    again: bool = False
    #: The record's own timestamp is the time of the replay.
    virtual_time: bool = False


class Replayed(NamedTuple):
    """The record that is sent for a letter."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    #: None for the time of sending.
    timestamp_ms: int | None


def obstacle(letter: Letter, replayed: Collection[Place], rules: Rules) -> str | None:
    """Why a letter stays where it is, or None if it can be replayed."""
    if letter.place in replayed and not rules.again:
        return "replayed already (--again sends them once more)"
    if (damage := _damage(letter)) is not None:
        return damage
    if letter.attempt >= rules.max_attempts:
        return f"rejected {rules.max_attempts} times or more (--max-attempts)"
    return None


def _damage(letter: Letter) -> str | None:
    """What a letter lacks of the record that it was."""
    if letter.topic == UNKNOWN or letter.partition < 0:
        return "without the headers that say where they came from"
    if letter.topic not in OWNED_TOPICS:
        return f"from {letter.topic}, which is no input of this service"
    if letter.is_cut:
        return "cut: only the start of the key or value was kept, so the producer must send them anew"
    if REDACTED_HEADER in letter.headers:
        return "redacted: their personal data was taken out, so the producer must send them anew"
    return None


def replay_of(letter: Letter, rules: Rules, sent_header: tuple[str, bytes]) -> Replayed:
    """What is sent for a letter: its own bytes, to where a producer would put its key.

    Args:
        letter: One without an obstacle.
        rules: The partitioner and the clock.
        sent_header: In virtual time the wall clock at sending.
    """
    partition = letter.partition if letter.key is None else rules.partition_of(letter.key)
    headers = (
        (ATTEMPT_HEADER, str(letter.attempt + 1).encode()),
        (LETTER_HEADER, str(letter.place).encode()),
        *([sent_header] if rules.virtual_time else []),
    )
    timestamp_ms = _own_timestamp(letter.headers) if rules.virtual_time else None
    return Replayed(letter.topic, partition, letter.key, letter.value, headers, timestamp_ms)


def marker_headers(place: Place) -> tuple[tuple[str, bytes], ...]:
    """The headers of the marker of a letter, which has nothing else."""
    return ((MARKER_HEADER, str(place).encode()),)


def _own_timestamp(headers: Mapping[str, bytes]) -> int | None:
    content = headers.get(TIMESTAMP_HEADER, b"")
    return int(content) if len(content) <= _MAX_TIMESTAMP_DIGITS and content.isdigit() else None


def replay_text(letters: Sequence[Letter], stay: Mapping[str, int], left_out: int, *, done: bool) -> str:
    """What was or would be replayed to where, and what stays and why, in words."""
    if not letters and not stay:
        return "no dead letter fits; nothing is replayed"
    to = Counter(letter.topic for letter in letters)
    listed = ", ".join(f"{count} to {topic}" for topic, count in sorted(to.items())) or "none"
    lines = [f"{'replayed' if done else 'would replay'} {len(letters)}: {listed}"]
    lines += [f"{count} stay: {escaped(why)}" for why, count in sorted(stay.items())]
    if left_out:
        lines.append(f"{left_out} more fit: run the same command again (--limit)")
    if letters and not done:
        lines.append("nothing was sent; add --yes to do it")
    return "\n".join(lines)
