"""What a rejected record leaves behind."""

import hashlib

import pytest

from stream.dead_letter import ATTEMPT_HEADER, LETTER_HEADER, REASON_HEADER, dead_letter
from stream.errors import RejectionError
from stream.events import Reason
from tests.builders import Record

RECORD = Record(topic="behaviour.browse", partition=3, offset=77, key=b"\xff", value=b"\x00raw")


def rejection(detail: str = "trailing bytes") -> RejectionError:
    """One that was raised, with a cause."""
    with pytest.raises(RejectionError) as caught:
        reject(detail)
    return caught.value


def reject(detail: str) -> None:
    try:
        int("the cause")
    except ValueError as cause:
        raise RejectionError(Reason.JSON, detail) from cause


def test_key_and_value_are_the_records_own_bytes() -> None:
    assert dead_letter(RECORD, rejection(), "1.2.3")[:2] == (b"\xff", b"\x00raw")


def test_the_headers_are_those_of_kip_1034_and_ours() -> None:
    headers = dict(dead_letter(RECORD, rejection(), "1.2.3").headers)

    trace = headers.pop("__streams.errors.stacktrace")
    assert headers == {
        "__streams.errors.exception": b"RejectionError",
        "__streams.errors.message": b"trailing bytes",
        "__streams.errors.topic": b"behaviour.browse",
        "__streams.errors.partition": b"3",
        "__streams.errors.offset": b"77",
        REASON_HEADER: b"json",
        "interestflow.schema-version": b"1.0",
        "interestflow.app-version": b"1.2.3",
        "interestflow.timestamp-ms": b"1700000000000",
        "interestflow.attempt": b"1",
    }
    assert trace.endswith(b"RejectionError: json: trailing bytes\n")
    assert b"ValueError: invalid literal for int() with base 10: 'the cause'" in trace


def test_a_replayed_record_that_is_rejected_again_says_its_attempt_and_its_former_letter() -> None:
    replayed = Record(value=b"x", headers=[(ATTEMPT_HEADER, b"3"), (LETTER_HEADER, b"2:17")])

    headers = dict(dead_letter(replayed, rejection(), "1.2.3").headers)

    assert (headers[ATTEMPT_HEADER], headers[LETTER_HEADER]) == (b"3", b"2:17")


@pytest.mark.parametrize("content", [None, b"", b"0", b"-1", b"soon", b"9" * 5000, "²".encode()])
def test_a_made_up_attempt_counts_as_the_first(content: bytes) -> None:
    headers = dict(dead_letter(Record(headers=[(ATTEMPT_HEADER, content)]), rejection(), "1.2.3").headers)

    assert headers[ATTEMPT_HEADER] == b"1"


@pytest.mark.parametrize("content", [None, b"", b"2", b"2:", b"\x1b[2J", b"1:" + b"9" * 900_000])
def test_a_made_up_former_letter_is_left_out(content: bytes) -> None:
    letter = dead_letter(Record(headers=[(LETTER_HEADER, content)]), rejection(), "1.2.3")

    assert LETTER_HEADER not in dict(letter.headers)


def test_of_many_former_letters_one_is_kept_so_that_a_broker_takes_it() -> None:
    record = Record(headers=[(LETTER_HEADER, b"%d:1" % number) for number in range(30_000)])

    letter = dead_letter(record, rejection(), "1.2.3")

    assert [content for name, content in letter.headers if name == LETTER_HEADER] == [b"0:1"]


@pytest.mark.parametrize("size", [65_536, 0])
def test_what_fits_is_kept_whole(size: int) -> None:
    record = Record(key=b"k" * size, value=b"v" * size)

    letter = dead_letter(record, rejection(), "1.2.3")

    assert (letter.key, letter.value, len(letter.headers)) == (record.key, record.value, 11)


def test_a_null_stays_null() -> None:
    assert dead_letter(Record(key=None, value=None), rejection(), "1.2.3")[:2] == (None, None)


@pytest.mark.parametrize("part", ["key", "value"])
def test_of_what_is_too_large_the_start_is_kept_with_the_hash_of_the_whole(part: str) -> None:
    content = b"start" + b"x" * 65_536
    record = Record(**{"value": b"v", part: content})  # type: ignore[arg-type]

    letter = dead_letter(record, rejection(), "1.2.3")

    headers = dict(letter.headers)
    assert getattr(letter, part) == content[:1024]
    assert headers[f"interestflow.{part}-bytes"] == b"65541"
    assert headers[f"interestflow.{part}-sha256"] == hashlib.sha256(content).hexdigest().encode()


def test_a_long_message_and_a_long_trace_are_cut() -> None:
    headers = dict(dead_letter(RECORD, rejection("é" * 100_000), "1.2.3").headers)

    assert (len(headers["__streams.errors.message"]), len(headers["__streams.errors.stacktrace"])) == (
        1024, 4096,
    )  # fmt: skip
