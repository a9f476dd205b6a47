"""Records that are produced once more: to the partition where they belong, or as those of another id of their user."""

from typing import Final

from stream.errors import RejectionError
from stream.events import Change, Outcome, Reason
from stream.record import InputRecord
from stream.sender import OutRecord

#: Set on a record that was produced once more; a second time is a rejection.
HOP_HEADER: Final = "interestflow.hop"
#: How often a record was passed on from one id to another.
MERGE_HOPS_HEADER: Final = "interestflow.merge-hops"
#: A record with more than this is not produced once more: with its value it must stay below what a broker takes.
_MAX_HEADER_BYTES: Final = 65_536
#: Nobody has so many ids one behind the other; more is a circle.
_MAX_MERGE_HOPS: Final = 16
_MAX_HOPS_DIGITS: Final = 4


def put_right(record: InputRecord, user: bytes, home: int) -> OutRecord:
    """A record for its right partition.

    Raises:
        RejectionError: ``wrong_partition`` the second time; ``too_large`` with too many headers.
    """
    if any(name == HOP_HEADER for name, _ in record.headers):
        detail = f"partition {record.partition} instead of {home} even after producing it once more; check the partitioner"
        raise RejectionError(Reason.WRONG_PARTITION, detail)
    _check_headers(record)
    return OutRecord(user, record.value, (*record.headers, (HOP_HEADER, b"1")), record.timestamp)


def reproduced(record: InputRecord) -> tuple[str, str]:
    """Outcome and reason of a record that was put right."""
    return Outcome.REPRODUCED, Change.NULL_KEY if record.key is None else Change.REPARTITIONED


def passed_on(record: InputRecord, user: bytes, value: bytes) -> OutRecord:
    """A record of a merged id as one of the id that it was merged into.

    Raises:
        RejectionError: ``merge_loop`` if it was passed on too often; ``too_large`` with too many headers.
    """
    hops = 1 + _hops(record)
    if hops > _MAX_MERGE_HOPS:
        detail = f"passed on {_MAX_MERGE_HOPS} times from one merged id to the next: they are merged in a circle; erase one of them"
        raise RejectionError(Reason.MERGE_LOOP, detail)
    _check_headers(record)
    headers = [header for header in record.headers if header[0] != MERGE_HOPS_HEADER]
    return OutRecord(user, value, (*headers, (MERGE_HOPS_HEADER, str(hops).encode())), record.timestamp)


def _check_headers(record: InputRecord) -> None:
    size = sum(len(name) + len(content or b"") for name, content in record.headers)
    if size > _MAX_HEADER_BYTES:
        detail = f"the headers have {size} bytes; with more than {_MAX_HEADER_BYTES} a record is not produced once more"
        raise RejectionError(Reason.TOO_LARGE, detail)


def _hops(record: InputRecord) -> int:
    for name, content in record.headers:
        if name == MERGE_HOPS_HEADER and content and len(content) <= _MAX_HOPS_DIGITS and content.isdigit():
            return int(content)
    return 0
