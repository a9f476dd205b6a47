"""Images of a made shop: a projection that is known is found, and samples are fused as a worker fuses."""

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the trainer extra: pip install 'interestflow[trainer]'")

from stream.fusing import Floats, Fusion, fused
from stream.model.images import ImageCatalogue
from trainer.errors import TrainerError
from trainer.images import fit_projection, fused_texts

pytestmark = pytest.mark.trainer

ITEMS = 300


def unit(rows: NDArray[np.float64]) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def made(noise: float, seed: int = 3) -> tuple[Floats, Floats]:
    """Texts [n, 6] that images [n, 4] are turned into by one fixed matrix, and noise."""
    draw = np.random.default_rng(seed)
    images = unit(draw.normal(size=(ITEMS, 4)))
    turned = images @ draw.normal(size=(4, 6)) + noise * draw.normal(size=(ITEMS, 6))
    return unit(turned), images


def test_images_that_say_what_texts_say_are_projected_onto_them() -> None:
    texts, images = made(noise=0.0)

    found = fit_projection(texts, images)

    assert found.projection.shape == (6, 4)
    assert found.figures["items"] == ITEMS
    assert found.figures["left_out_cosine"] > 0.9


def test_images_that_say_nothing_are_found_out() -> None:
    texts, images = made(noise=50.0)

    assert abs(fit_projection(texts, images).figures["left_out_cosine"]) < 0.15


def test_a_projection_is_what_half_precision_holds_and_repeats() -> None:
    texts, images = made(noise=0.5)

    one, other = fit_projection(texts, images).projection, fit_projection(texts, images).projection

    assert one.dtype == np.float32
    assert np.array_equal(one, one.astype(np.float16).astype(np.float32))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_items_with_images_are_an_error(count: int) -> None:
    texts, images = made(noise=0.0)

    with pytest.raises(TrainerError, match=f"{count} items of the samples have an image in the catalogue"):
        fit_projection(texts[:count], images[:count])


def test_texts_with_an_image_are_fused_and_the_others_stay() -> None:
    texts, images = made(noise=0.5)
    catalogue = ImageCatalogue(["a", "b"], images[:2].astype(np.float16), "00")
    fusion = Fusion(fit_projection(texts, images).projection, 0.5)

    both = fused_texts(texts[:4], ["b", "", "unknown", "a"], catalogue, fusion)

    image = catalogue.get("b")
    assert image is not None
    assert np.array_equal(both[0], fused(texts[0], image, fusion))
    assert np.array_equal(both[1:3], texts[1:3])
    assert not np.array_equal(both[3], texts[3])


def test_without_a_catalogue_or_a_projection_texts_stay_as_they_are() -> None:
    texts, images = made(noise=0.0)
    catalogue = ImageCatalogue(["a"], images[:1].astype(np.float16), "00")

    fusion = Fusion(np.eye(6, 4, dtype=np.float32), 1.0)

    assert fused_texts(texts, ["a"] * ITEMS, catalogue, None) is texts
    assert fused_texts(texts, ["a"] * ITEMS, None, fusion) is texts
