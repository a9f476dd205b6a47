"""What SCORE remembers of a user, in a table that only SCORE writes: small, versioned, derived.

Encoding, version 1, little-endian: header 36 bytes, 3 intents as float16, L scores as float16 (2 bytes each), the
model version's name, and the live reservations of ad decisions.
"""

import struct
from typing import Final

import numpy as np

from stream.ads.reservations import Reservations
from stream.errors import StateVersionError
from stream.features import Floats

ENCODING_VERSION: Final = 1
_HEADER: Final = struct.Struct("<BxHIIqQHxxI")
_INTENTS: Final = 3
_SCORED_AT: Final = 4
_REVISION: Final = struct.Struct("<I")
_REVIEW_AT: Final = 12
_REVIEW: Final = struct.Struct("<q")
_LABELS_AT: Final = 2
_VERSION_AT: Final = 28
_SHORT: Final = struct.Struct("<H")


class ScoreRecord:
    """A user's last scores and how far scoring got."""

    __slots__ = (
        "intent",
        "label_set",
        "next_review_ms",
        "reservations",
        "revision_published",
        "revision_scored",
        "scores",
        "version",
    )

    def __init__(self) -> None:
        #: Fold revision that a model scored last; below the state's revision the user is due.
        self.revision_scored = 0
        #: Fold revision of the last published update, from whatever source.
        self.revision_published = 0
        #: When a quiet user is looked at again, UTC ms in stream time; 0: never.
        self.next_review_ms = 0
        #: First 64 bits of the label set's hash that ``scores`` are of.
        self.label_set = 0
        #: Version of the head that scored last; scores that hardly changed are still those of the one before.
        self.version = ""
        #: Scores of the last update that a model gave, [L]; empty before the first.
        self.scores: Floats = np.zeros(0, dtype=np.float32)
        self.intent: Floats = np.zeros(_INTENTS, dtype=np.float32)
        self.reservations = Reservations()


def forgotten(revision: int) -> ScoreRecord:
    """The record of an erased user: that the erasure was published, and nothing else."""
    record = ScoreRecord()
    record.revision_scored = revision
    return record


def encode_record(record: ScoreRecord) -> bytes:
    """The record as bytes."""
    version = record.version.encode()
    reservations = record.reservations.to_bytes()
    return b"".join(
        (
            _HEADER.pack(
                ENCODING_VERSION,
                len(record.scores),
                record.revision_scored,
                record.revision_published,
                record.next_review_ms,
                record.label_set,
                len(version),
                len(reservations),
            ),
            record.intent.astype("<f2").tobytes(),
            record.scores.astype("<f2").tobytes(),
            version,
            reservations,
        )
    )


def decode_record(data: bytes) -> ScoreRecord:
    """The record that :func:`encode_record` encoded.

    Raises:
        StateVersionError: If it was written by a newer release.
    """
    if data[0] != ENCODING_VERSION:
        raise StateVersionError(data[0], ENCODING_VERSION)
    record = ScoreRecord()
    (
        _,
        labels,
        record.revision_scored,
        record.revision_published,
        record.next_review_ms,
        record.label_set,
        version_bytes,
        _,
    ) = _HEADER.unpack_from(data)
    at = _HEADER.size
    record.intent = np.frombuffer(data, "<f2", _INTENTS, at).astype(np.float32)
    at += 2 * _INTENTS
    record.scores = np.frombuffer(data, "<f2", labels, at).astype(np.float32)
    at += 2 * labels
    record.version = data[at : at + version_bytes].decode()
    record.reservations = Reservations.from_bytes(data[at + version_bytes :])
    return record


def peek_scored(data: bytes) -> int:
    """The revision scored of an encoded record, without decoding the rest."""
    return int(_REVISION.unpack_from(data, _SCORED_AT)[0])


def peek_review(data: bytes) -> int:
    """The next review of an encoded record, UTC ms, without decoding the rest."""
    return int(_REVIEW.unpack_from(data, _REVIEW_AT)[0])


def peek_version(data: bytes) -> str:
    """The version of the head of an encoded record, without decoding the rest; empty before the first scoring."""
    labels = int(_SHORT.unpack_from(data, _LABELS_AT)[0])
    length = int(_SHORT.unpack_from(data, _VERSION_AT)[0])
    at = _HEADER.size + 2 * (_INTENTS + labels)
    return data[at : at + length].decode()
