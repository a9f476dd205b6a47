"""The checks that an answer of the model server passes before anyone believes it.

n rows, L interests, D dimensions.
"""

from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.model.failures import FailureKind, ModelCallError
from stream.model.port import INTENT_DAYS, Floats, Scored

#: bf16 has 8 bits of precision: a vector normalised in it is off by up to half a percent.
_LENGTH_TOLERANCE: Final = 0.02
_LABEL_SET_DIGITS: Final = 15


class Widths(NamedTuple):
    """What the rows of an answer must be."""

    labels: int
    dimensions: int
    label_set: int
    """As ``label_set_number`` gives it: equal widths alone don't say that row 3 is the same interest."""


class Answer(Protocol):
    """A server's answer; ``tritonclient``'s result is one."""

    def as_numpy(self, name: str) -> NDArray[Any] | None:
        """The tensor of that name, None if there is none; ValueError if its bytes don't fill its shape."""
        ...


def read_vectors(answer: Answer, model: str, rows: int, dimensions: int) -> Floats:
    """Unit vectors [n, D].

    Raises:
        ModelCallError: The answer is of another shape, not finite or not of unit length.
    """
    vectors = _tensor(answer, model, "VECTOR", (rows, dimensions))
    lengths = np.linalg.norm(vectors, axis=1)
    off = np.abs(lengths - 1.0)
    if off.max() > _LENGTH_TOLERANCE:
        raise _invalid(model, f"VECTOR has a row of length {lengths[off.argmax()]:.4g} instead of 1")
    return vectors


def read_scored(answer: Answer, model: str, rows: int, widths: Widths) -> Scored:
    """Scores [n, L], intent [n, 3] and user vectors [n, D].

    Raises:
        ModelCallError: The answer is of another shape, not finite, of another label set, or a probability lies
            outside [0, 1].
    """
    labels, dimensions = widths.labels, widths.dimensions
    scores = _tensor(answer, model, "SCORES", (rows, labels))
    intent = _tensor(answer, model, "INTENT", (rows, len(INTENT_DAYS)))
    for name, probabilities in (("SCORES", scores), ("INTENT", intent)):
        lowest, highest = float(probabilities.min()), float(probabilities.max())
        if lowest < 0.0 or highest > 1.0:
            raise _invalid(model, f"{name} lies in [{lowest:.4g}, {highest:.4g}], probabilities in [0, 1]")
    _require_label_set(answer, model, widths.label_set)
    return Scored(scores, intent, _tensor(answer, model, "USER_VECTOR", (rows, dimensions)))


def label_set_number(label_set_hash: str) -> int:
    """The label set as the server tells it: 60 bits of the hash, for they fit a signed integer."""
    return int(label_set_hash[:_LABEL_SET_DIGITS], 16)


def _require_label_set(answer: Answer, model: str, expected: int) -> None:
    """Pass if the server loaded the label set of our repository; a GPU's bare ONNX file does not tell it."""
    told = answer.as_numpy("LABEL_SET")
    if told is not None and (told != expected).any():
        found = int(told[told != expected][0])
        raise _invalid(
            model,
            f"the server scores label set {found:015x}…, the worker's repository names {expected:015x}…: "
            "scores would be read under wrong names",
        )


def _tensor(answer: Answer, model: str, name: str, shape: tuple[int, int]) -> Floats:
    try:
        found = answer.as_numpy(name)
    except ValueError as error:
        # The bundled server does so when its python models run with numpy 2.
        raise _invalid(model, f"{name} is empty or cut ({error})") from error
    if found is None:
        raise _invalid(model, f"there is no {name}")
    if found.shape != shape or found.dtype != np.float32:
        raise _invalid(
            model,
            f"{name} is {found.dtype} {list(found.shape)} instead of float32 {list(shape)}",
        )
    if not np.isfinite(found).all():
        rows = int((~np.isfinite(found).all(axis=1)).sum())
        raise _invalid(model, f"{name} holds NaN or infinity in {rows} of {shape[0]} rows")
    return found


def _invalid(model: str, detail: str) -> ModelCallError:
    return ModelCallError(model, FailureKind.INVALID, detail)
