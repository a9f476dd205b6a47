"""An answer is believed only if every number of it can be meant."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.model.answers import Widths, label_set_number, read_scored, read_vectors
from stream.model.failures import FailureKind, ModelCallError

WIDTHS = Widths(labels=5, dimensions=4, label_set=0x123)


class Given:
    """An answer of the given tensors; a missing name is no tensor, an empty one can't be shaped."""

    def __init__(self, **tensors: NDArray[Any]) -> None:
        self.tensors = tensors

    def as_numpy(self, name: str) -> NDArray[Any] | None:
        tensor = self.tensors.get(name)
        if tensor is not None and tensor.size == 0:
            return tensor.reshape(2, 4)
        return tensor


def float32(*shape: int, value: float = 0.5) -> NDArray[np.float32]:
    return np.full(shape, value, dtype=np.float32)


def head(**changes: NDArray[Any]) -> Given:
    tensors: dict[str, NDArray[Any]] = {
        "SCORES": float32(2, 5),
        "INTENT": float32(2, 3),
        "USER_VECTOR": float32(2, 4),
    }
    return Given(**(tensors | changes))


def with_one(value: float, *shape: int) -> NDArray[np.float32]:
    array = float32(*shape)
    array[1, 0] = value
    return array


def test_a_right_answer_is_passed_on() -> None:
    scored = read_scored(head(), "interest_head", 2, WIDTHS)

    assert scored.scores.shape == (2, 5)
    assert scored.intent.shape == (2, 3)
    assert scored.user_vectors.shape == (2, 4)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (head(SCORES=float32(2, 6)), r"SCORES is float32 \[2, 6\] instead of float32 \[2, 5\]"),
        (head(SCORES=float32(1, 5)), r"SCORES is float32 \[1, 5\] instead of float32 \[2, 5\]"),
        (head(SCORES=np.full((2, 5), 0.5)), r"SCORES is float64 \[2, 5\]"),
        (head(SCORES=with_one(np.nan, 2, 5)), r"SCORES holds NaN or infinity in 1 of 2 rows"),
        (head(SCORES=with_one(1.01, 2, 5)), r"SCORES lies in \[0\.5, 1\.01\], probabilities in \[0, 1\]"),
        (head(INTENT=with_one(-0.1, 2, 3)), r"INTENT lies in \[-0\.1, 0\.5\]"),
        (head(USER_VECTOR=with_one(np.inf, 2, 4)), r"USER_VECTOR holds NaN or infinity in 1 of 2 rows"),
        (head(USER_VECTOR=float32(0)), r"USER_VECTOR is empty or cut"),
        (Given(SCORES=float32(2, 5)), r"there is no INTENT"),
        (
            head(LABEL_SET=np.array([[0x123], [0x124]])),
            r"the server scores label set 000000000000124…, the worker's repository names 000000000000123…",
        ),
    ],
)
def test_scores_that_can_not_be_meant_are_invalid(answer: Given, said: str) -> None:
    with pytest.raises(ModelCallError, match=said) as caught:
        read_scored(answer, "interest_head", 2, WIDTHS)

    assert caught.value.kind is FailureKind.INVALID


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (with_one(np.nan, 2, 4), "VECTOR holds NaN"),
        (float32(2, 4, value=0.0), "VECTOR has a row of length 0 instead of 1"),
        (float32(2, 4, value=0.6), r"VECTOR has a row of length 1\.2 instead of 1"),
    ],
)
def test_vectors_that_can_not_be_meant_are_invalid(vectors: NDArray[np.float32], said: str) -> None:
    with pytest.raises(ModelCallError, match=said) as caught:
        read_vectors(Given(VECTOR=vectors), "behaviour_encoder", 2, 4)

    assert caught.value.kind is FailureKind.INVALID


def test_a_vector_normalised_in_half_precision_is_good_enough() -> None:
    vectors = float32(2, 4, value=0.503)

    assert read_vectors(Given(VECTOR=vectors), "behaviour_encoder", 2, 4) is vectors


def test_the_label_set_is_told_by_the_first_60_bits_of_its_hash() -> None:
    assert label_set_number("0123456789abcdef" + 48 * "f") == 0x0123456789ABCDE


def test_a_server_that_does_not_tell_its_label_set_is_believed() -> None:
    assert read_scored(head(), "interest_head", 2, WIDTHS).scores.shape == (2, 5)
    assert read_scored(head(LABEL_SET=np.full((2, 1), 0x123)), "interest_head", 2, WIDTHS).scores.shape == (
        2,
        5,
    )
