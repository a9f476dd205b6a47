"""Texts by hash, to and from the compacted topic."""

import pytest

from stream.sender import OutRecord
from stream.texts import TextCatalog

BIG = 2**64 - 1


def test_what_is_not_known_has_to_be_written() -> None:
    catalog = TextCatalog(4)
    catalog.add({1: "tea"})

    assert catalog.unknown({1: "tea", 2: "brie"}) == {2: "brie"}


def test_a_text_goes_to_the_partition_of_its_hash() -> None:
    outgoing = list(TextCatalog(4).outgoing({5: "tea", 9: "brie", BIG: "grün"}))

    assert [(out.topic, out.partition, list(out.records)) for out in outgoing] == [
        (
            "catalog.texts",
            1,
            [OutRecord(b"0000000000000005", b"tea"), OutRecord(b"0000000000000009", b"brie")],
        ),
        ("catalog.texts", 3, [OutRecord(b"ffffffffffffffff", "grün".encode())]),
    ]


def test_nothing_to_write_is_no_record() -> None:
    assert list(TextCatalog(4).outgoing({})) == []


def test_what_was_written_is_read_back() -> None:
    written, read = TextCatalog(4), TextCatalog(4)

    for out in written.outgoing({5: "tea", BIG: "grün"}):
        for record in out.records:
            read.on_record(record.key, record.value)

    assert (read.get(5), read.get(BIG), len(read)) == ("tea", "grün", 2)


def test_what_is_forgotten_is_forgotten_by_every_reader() -> None:
    writer, reader = TextCatalog(4), TextCatalog(4)
    for catalog in (writer, reader):
        catalog.add({5: "tea", 6: "brie"})

    (out,) = writer.forget([5])
    for record in out.records:
        reader.on_record(record.key, record.value)

    assert [(record.key, record.value) for record in out.records] == [(b"0000000000000005", None)]
    assert (writer.get(5), reader.get(5), len(writer), len(reader)) == (None, None, 1, 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"tea"),
        (b"", b"tea"),
        (b"0000000000000005", None),
        (b"not hex", b"tea"),
        (b"\xff\xfe", b"tea"),
        (b"0000000000000005", b"\xff"),
    ],
)
def test_what_is_no_text_of_ours_is_passed_over(key: bytes | None, value: bytes | None) -> None:
    catalog = TextCatalog(4)

    catalog.on_record(key, value)

    assert len(catalog) == 0
