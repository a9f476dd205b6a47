"""Row 66 where it really bites: a header name that is not UTF-8, in aiokafka's own unpacking."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher

from stream.lenient_headers import install_lenient_headers
from tests.builders import NOW_MS
from tests.hostile_batch import hostile_batch

RECORDS = [
    (NOW_MS, b"u1", b"first", False),
    (NOW_MS, b"u1", b"second", True),
    (NOW_MS, b"u2", b"third", False),
]


@pytest.fixture
def lenient() -> Iterator[None]:
    uninstall = install_lenient_headers()
    yield
    uninstall()


def unpacked(batch: bytes, fetch_offset: int = 0) -> list[Any]:
    """The records as a fetch of aiokafka gives them."""
    module: Any = fetcher
    records = module.MemoryRecords(batch)
    tp = TopicPartition("behaviour.click", 0)
    return list(
        module.PartitionRecords(tp, records, None, fetch_offset, None, None, True, 0)  # noqa: FBT003 - as the fetcher
    )


def test_aiokafka_alone_gives_up_on_such_a_batch() -> None:
    with pytest.raises(UnicodeDecodeError):
        unpacked(hostile_batch(*RECORDS))


@pytest.mark.usefixtures("lenient")
def test_every_record_comes_once_and_the_bad_name_is_replaced() -> None:
    records = unpacked(hostile_batch(*RECORDS))

    assert [(one.offset, one.key, one.value, one.timestamp) for one in records] == [
        (0, b"u1", b"first", NOW_MS), (1, b"u1", b"second", NOW_MS), (2, b"u2", b"third", NOW_MS),
    ]  # fmt: skip
    assert records[1].headers == (("\ufffd" * 4, b"x"),)


@pytest.mark.usefixtures("lenient")
def test_a_fetch_from_the_middle_of_a_batch_skips_what_was_read() -> None:
    assert [one.value for one in unpacked(hostile_batch(*RECORDS), fetch_offset=1)] == [b"second", b"third"]


@pytest.mark.usefixtures("lenient")
def test_good_batches_around_it_are_read_too() -> None:
    good = hostile_batch((NOW_MS, b"u1", b"good", False))

    hostile = hostile_batch(*RECORDS, base_offset=1)

    records = unpacked(good + hostile + hostile_batch((NOW_MS, b"u1", b"last", False), base_offset=4))

    assert [one.value for one in records] == [b"good", b"first", b"second", b"third", b"last"]
    assert [one.offset for one in records] == [0, 1, 2, 3, 4]
