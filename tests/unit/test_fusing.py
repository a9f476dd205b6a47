"""Text and image of an item in one vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream.fusing import Fusion, fused

TEXT = np.array([1, 0, 0], dtype=np.float32)
IMAGE = np.array([0, 1], dtype=np.float32)
#: Takes the second direction of images to the second of texts.
PROJECTION = np.array([[0, 0], [0, 1], [0, 0]], dtype=np.float32)


def test_an_image_turns_the_texts_vector_towards_where_it_is_projected() -> None:
    both = fused(TEXT, IMAGE, Fusion(PROJECTION, 0.75))

    assert both.dtype == np.float32
    assert both == pytest.approx([0.8, 0.6, 0.0])


def test_with_weight_0_the_vector_is_the_texts_own() -> None:
    assert fused(TEXT, IMAGE, Fusion(PROJECTION, 0.0)) is TEXT


def test_parts_that_cancel_out_leave_the_text() -> None:
    against = np.array([[0, -1], [0, 0], [0, 0]], dtype=np.float32)

    assert fused(TEXT, IMAGE, Fusion(against, 1.0)) is TEXT


def test_the_same_text_with_another_image_is_another_vector() -> None:
    other = np.array([0.6, -0.8], dtype=np.float32)
    fusion = Fusion(PROJECTION, 1.0)

    assert not np.allclose(fused(TEXT, IMAGE, fusion), fused(TEXT, other, fusion))


def test_a_fusion_knows_how_many_dimensions_images_have() -> None:
    assert Fusion(PROJECTION, 1.0).dimensions == 2


numbers = st.floats(-1, 1, width=32)


@given(
    arrays(np.float32, 4, elements=numbers),
    arrays(np.float32, 3, elements=numbers),
    arrays(np.float32, (4, 3), elements=numbers),
    st.floats(0, 4),
)
def test_whatever_is_fused_has_length_1_and_repeats_to_the_last_bit(
    text: np.ndarray, image: np.ndarray, projection: np.ndarray, weight: float
) -> None:
    length = np.linalg.norm(text)
    if length < 1e-3:
        text, length = np.eye(4, dtype=np.float32)[0], np.float32(1)
    unit = (text / length).astype(np.float32)
    fusion = Fusion(projection, weight)

    both = fused(unit, image, fusion)

    assert np.linalg.norm(both) == pytest.approx(1.0, abs=1e-4)
    assert np.array_equal(both, fused(unit.copy(), image.copy(), fusion))
