"""What SCORE remembers of a user, and its encoding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stream.ads.reservations import Reservation, Reservations
from stream.errors import StateVersionError
from stream.score_record import (
    ENCODING_VERSION,
    ScoreRecord,
    decode_record,
    encode_record,
    forgotten,
    peek_review,
    peek_scored,
    peek_version,
)

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
RESERVATIONS = st.builds(Reservation, U64, U64, I64, I64)


def f2(count: st.SearchStrategy[int] | int) -> st.SearchStrategy[np.ndarray]:
    """float32 values that float16 holds."""
    halves = arrays.arrays(np.float16, count, elements=st.floats(allow_nan=False, width=16))
    return halves.map(lambda values: values.astype(np.float32))


@st.composite
def records(draw: st.DrawFn) -> ScoreRecord:
    record = ScoreRecord()
    record.revision_scored, record.revision_published = draw(U32), draw(U32)
    record.next_review_ms, record.label_set, record.version = draw(I64), draw(U64), draw(st.text(max_size=20))
    record.intent, record.scores = draw(f2(3)), draw(f2(st.integers(0, 20)))
    record.reservations = Reservations(draw(st.lists(RESERVATIONS, max_size=3)))
    return record


def contents(record: ScoreRecord) -> tuple[object, ...]:
    return (
        record.revision_scored,
        record.revision_published,
        record.next_review_ms,
        record.label_set,
        record.version,
        record.intent.tolist(),
        record.scores.tolist(),
        record.reservations,
    )


@given(records())
def test_a_record_comes_back_from_its_bytes_and_gives_the_same_bytes(record: ScoreRecord) -> None:
    data = encode_record(record)

    again = decode_record(data)

    assert contents(again) == contents(record)
    assert {str(again.scores.dtype), str(again.intent.dtype)} == {"float32"}
    assert encode_record(again) == data


@given(records())
def test_a_look_at_the_bytes_sees_what_decoding_sees(record: ScoreRecord) -> None:
    data = encode_record(record)

    assert (peek_scored(data), peek_review(data)) == (record.revision_scored, record.next_review_ms)
    assert peek_version(data) == record.version


def test_a_new_record_says_that_nothing_was_scored() -> None:
    assert contents(decode_record(encode_record(ScoreRecord()))) == (
        0, 0, 0, 0, "", [0.0] * 3, [], Reservations(),
    )  # fmt: skip


def test_of_an_erased_user_only_the_erasure_is_remembered() -> None:
    expected = ScoreRecord()
    expected.revision_scored = 9

    assert contents(forgotten(9)) == contents(expected)


def test_a_record_takes_two_bytes_for_each_score() -> None:
    record = ScoreRecord()
    record.scores, record.version = np.zeros(268, np.float32), "7"

    assert len(encode_record(record)) == 36 + 6 + 2 * 268 + 1


def test_scores_are_kept_to_three_digits() -> None:
    record = ScoreRecord()
    record.scores = np.array([0.123456, 0.999999, 1e-9], np.float32)

    assert decode_record(encode_record(record)).scores.tolist() == pytest.approx(
        [0.123456, 1.0, 0.0], abs=5e-4
    )


def test_scores_of_a_record_can_be_changed() -> None:
    record = ScoreRecord()
    record.scores = np.ones(2, np.float32)

    again = decode_record(encode_record(record))
    again.scores[0] = 0.5

    assert again.scores.tolist() == [0.5, 1.0]


def test_a_record_of_a_newer_release_is_refused_by_name() -> None:
    data = bytes([ENCODING_VERSION + 1]) + encode_record(ScoreRecord())[1:]

    with pytest.raises(StateVersionError, match="has encoding version 2, this release reads up to 1"):
        decode_record(data)
