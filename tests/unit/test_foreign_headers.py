"""Records with header names that are no text: read, not stuck on. The batches are those of aiokafka's own builder."""

import gzip
import inspect
from collections.abc import Sequence

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from stream.foreign_headers import ReadableRecords, read_foreign_headers
from tests.hostile_batch import SHOWN, STAND_IN, spoilt

#: Of a batch: what comes before its records. Bytes 8 to 11 are its length, 21 and 22 its attributes (1: gzip).
HEADER_BYTES = 61

Headers = Sequence[tuple[str, bytes]]


def batch(*headers: Headers, base_offset: int = 0) -> bytes:
    """One batch, a record for each list of headers; its offsets begin at 0 unless said otherwise."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for offset, of_one in enumerate(headers):
        assert builder.append(offset, timestamp=1000 + offset, key=b"u1", value=b"v", headers=list(of_one))
    built = bytes(builder.build())
    return base_offset.to_bytes(8, "big") + built[8:]


def read(raw: bytes) -> list[tuple[int, int, bytes | None, list[tuple[str, bytes | None]]]]:
    records = ReadableRecords(raw)
    found = []
    while records.has_next():
        found += [
            (record.offset, record.timestamp, record.value, list(record.headers))
            for record in records.next_batch()
        ]
    return found


def test_aiokafka_alone_can_not_read_a_batch_with_such_a_header() -> None:
    records = MemoryRecords(spoilt(batch([(STAND_IN, b"x")])))

    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        list(records.next_batch())


def test_the_header_is_shown_escaped_and_its_neighbours_are_read_as_they_are() -> None:
    raw = spoilt(batch([("good", b"1")], [(STAND_IN, b"2")], []))

    assert read(raw) == [
        (0, 1000, b"v", [("good", b"1")]),
        (1, 1001, b"v", [(SHOWN, b"2")]),
        (2, 1002, b"v", []),
    ]


def test_each_batch_of_a_fetch_is_read_from_its_own_bytes() -> None:
    raw = batch([("a", b"1")]) + spoilt(batch([(STAND_IN, b"2")], base_offset=1)) + batch([], base_offset=2)

    assert [(offset, headers) for offset, _, _, headers in read(raw)] == [
        (0, [("a", b"1")]), (1, [(SHOWN, b"2")]), (2, []),
    ]  # fmt: skip


def test_a_compressed_batch_is_read_too() -> None:
    raw = spoilt(batch([(STAND_IN, b"2")]))
    packed = gzip.compress(raw[HEADER_BYTES:])
    length = HEADER_BYTES - 12 + len(packed)
    header = raw[:8] + length.to_bytes(4, "big") + raw[12:21] + b"\0\1" + raw[23:HEADER_BYTES]

    assert read(header + packed) == [(0, 1000, b"v", [(SHOWN, b"2")])]


def test_a_batch_that_is_really_broken_is_still_an_error() -> None:
    raw = bytearray(batch([("good", b"1")]))
    raw[HEADER_BYTES] ^= 0x02  # the length of its first record

    with pytest.raises(CorruptRecordException):
        read(bytes(raw))


def test_a_cut_last_batch_is_left_for_the_next_fetch() -> None:
    raw = batch([]) + batch([], base_offset=1)[:-3]

    records = ReadableRecords(raw)

    assert [offset for offset, *_ in read(raw)] == [0]
    assert records.size_in_bytes() == len(raw)


def test_it_is_installed_where_aiokafka_reads_a_fetch() -> None:
    undo = read_foreign_headers()
    try:
        assert fetcher.MemoryRecords is ReadableRecords
        assert "records = MemoryRecords(part_data[-1])" in inspect.getsource(fetcher.Fetcher)
    finally:
        undo()

    assert fetcher.MemoryRecords is MemoryRecords
