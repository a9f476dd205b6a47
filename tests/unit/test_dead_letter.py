"""What a rejected record leaves behind."""

import hashlib

import pytest

from stream.dead_letter import REASON_HEADER, dead_letter
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
        "interestflow.attempt": b"1",
    }
    assert trace.endswith(b"RejectionError: json: trailing bytes\n")
    assert b"ValueError: invalid literal for int() with base 10: 'the cause'" in trace


@pytest.mark.parametrize("size", [65_536, 0])
def test_what_fits_is_kept_whole(size: int) -> None:
    record = Record(key=b"k" * size, value=b"v" * size)

    letter = dead_letter(record, rejection(), "1.2.3")

    assert (letter.key, letter.value, len(letter.headers)) == (record.key, record.value, 10)


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
