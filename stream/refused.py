"""Outputs that no broker would take: a dead letter says so, instead of a worker that ends and ends again."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from stream.dead_letter import REASON_HEADER, SOURCE_TOPIC_HEADER, dead_letter
from stream.errors import RejectionError
from stream.events import Reason
from stream.sender import MAX_BATCH_BYTES, OutRecord
from stream.version import app_version

#: An output stands in no log yet.
_NOWHERE: Final = -1


class _Output(NamedTuple):
    """An output as the record that it would have become."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def fitting(
    topic: str, partition: int, records: Sequence[OutRecord]
) -> tuple[list[OutRecord], list[OutRecord]]:
    """Those that one request holds, and the dead letters of the others."""
    fit: list[OutRecord] = []
    letters: list[OutRecord] = []
    for record in records:
        size = len(record.key or b"") + len(record.value or b"")
        if size <= MAX_BATCH_BYTES:
            fit.append(record)
            continue
        detail = (
            f"a record for {topic} has {size} bytes, one request holds {MAX_BATCH_BYTES}; a decision lists every "
            "campaign: end some"
        )
        output = _Output(topic, partition, _NOWHERE, 0, record.key, record.value, ())
        letter = dead_letter(output, RejectionError(Reason.OUTPUT_TOO_LARGE, detail), app_version())
        letters.append(OutRecord(*letter))
    return fit, letters


def about(letter: OutRecord) -> tuple[str, str]:
    """The topic and the reason of a dead letter, as labels."""
    headers = dict(letter.headers)
    return headers[SOURCE_TOPIC_HEADER].decode(), headers[REASON_HEADER].decode()
