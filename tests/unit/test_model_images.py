"""The image catalogue is read whole or refused with what is wrong with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.errors import ConfigurationError
from stream.model.images import read_images

VECTORS = np.array([[3, 4], [0, -2]], dtype=np.float32)


def written(path: Path, image_ids: Any = ("brie", "cup"), vectors: Any = VECTORS, **more: Any) -> Path:
    np.savez(path, image_ids=np.array(image_ids), vectors=vectors, **more)
    return path


def problem(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_images(path)
    return str(caught.value)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_images_come_as_unit_vectors_in_float32(tmp_path: Path, kind: type) -> None:
    images = read_images(written(tmp_path / "images.npz", vectors=VECTORS.astype(kind)))

    brie, cup = images.get("brie"), images.get("cup")
    assert brie is not None
    assert cup is not None
    assert brie.dtype == np.float32
    assert (len(images), images.dimensions) == (2, 2)
    assert brie == pytest.approx([0.6, 0.8], abs=1e-3)
    assert cup == pytest.approx([0.0, -1.0])


def test_an_image_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_images(written(tmp_path / "images.npz")).get("tea") is None


def test_other_vectors_are_another_catalogue(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one.npz"), written(tmp_path / "other.npz", vectors=-VECTORS)

    assert read_images(one).sha256 != read_images(other).sha256


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_part_of_a_part_is_equal_to_the_last_bit(tmp_path: Path, kind: type) -> None:
    drawn: NDArray[Any] = np.random.default_rng(1).normal(size=(50, 64)).astype(kind)
    ids = [f"image {row}" for row in range(50)]
    images = read_images(written(tmp_path / "images.npz", ids, drawn))

    images.write_part(ids, tmp_path / "part.npz")
    read_images(tmp_path / "part.npz").write_part(ids, tmp_path / "again.npz")

    again = read_images(tmp_path / "again.npz")
    assert all(np.array_equal(images.get(one), again.get(one)) for one in ids)  # type: ignore[arg-type]


def test_a_part_keeps_the_images_that_are_named_and_there(tmp_path: Path) -> None:
    images = read_images(written(tmp_path / "images.npz"))

    assert images.write_part(["cup", "tea", "cup"], tmp_path / "part.npz") == 1
    part = read_images(tmp_path / "part.npz")
    assert (len(part), part.get("brie")) == (1, None)
    assert np.array_equal(part.get("cup"), images.get("cup"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"vectors": [[1.0, 0.0], [np.nan, 1.0]]}, "1 of the 2 vectors"),
        ({"vectors": [[1.0, 0.0], [np.nan, 1.0]]}, "'cup' has numbers that are not finite"),
        ({"vectors": [[np.inf, 0.0], [0.0, 1.0]]}, "'brie' has numbers that are not finite"),
        ({"vectors": [[1e300, 0.0], [0.0, 1.0]]}, "'brie' has numbers that are not finite"),
        ({"vectors": [[1.0, 0.0], [0.0, 0.0]]}, "'cup' is all zeros"),
        ({"vectors": [1.0, 2.0]}, "vectors float64 [2]; it must be text [n] and floats [n, I]"),
        ({"vectors": np.zeros((2, 0))}, "float64 [2, 0]"),
        ({"vectors": [[1, 0], [0, 1]]}, "vectors int64 [2, 2]"),
        ({"image_ids": ["brie"]}, "[1]"),
        ({"image_ids": [1, 2]}, "image_ids int64 [2]"),
        ({"image_ids": ["brie", "brie"]}, "has 'brie' twice"),
        ({"image_ids": ["", "brie"]}, "the id '' of 0 characters"),
        ({"image_ids": ["x" * 257, "brie"]}, "of 257 characters"),
        ({"image_ids": np.array([], dtype=np.str_), "vectors": np.zeros((0, 2))}, "has no image"),
    ],
)
def test_a_catalogue_with_a_mistake_is_refused_and_named(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    path = written(tmp_path / "images.npz", **changed)

    assert said in problem(path)
    assert str(path) in problem(path)


def test_what_is_no_catalogue_is_refused_with_how_to_write_one(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("text.npz", "array.npz", "other.npz", "pickled.npz", "missing.npz")]
    paths[0].write_text("brie,0.1,0.2")
    with paths[1].open("wb") as file:
        np.save(file, VECTORS)
    np.savez(paths[2], ids=np.array(["brie"]), vectors=VECTORS)
    np.savez(paths[3], image_ids=np.array(["brie", None], dtype=object), vectors=VECTORS, allow_pickle=True)

    for path in paths:
        assert "is no image catalogue" in problem(path)
        assert "numpy.savez(FILE, image_ids=…, vectors=…)" in problem(path)
