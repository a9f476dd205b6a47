"""The image catalogue: a file of image vectors by image id, made by whatever encoder the deployment has for images.

A NumPy archive (``.npz``) with two arrays: ``image_ids`` [n], text, and ``vectors`` [n, I], float16 or wider. Any length
does: only directions count, and they are kept in half precision. Memory: 2 I bytes an image, and about 150 for its id.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError
from stream.fusing import Floats

_IDS: Final = "image_ids"
_VECTORS: Final = "vectors"
#: The longest ``image_id`` of an event.
_MAX_ID_CHARS: Final = 256
_WRITE_IT: Final = "write it with numpy.savez(FILE, image_ids=…, vectors=…), see docs/item-images.md"


class ImageCatalogue:
    """Vectors by image id; immutable.

    Args:
        image_ids: Different ones, [n].
        vectors: Finite rows of any length but 0, [n, I].
        sha256: Of the file.
    """

    def __init__(self, image_ids: Sequence[str], vectors: NDArray[np.float16], sha256: str) -> None:
        self._rows = {image_id: row for row, image_id in enumerate(image_ids)}
        self._vectors = vectors
        self.sha256 = sha256

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dimensions(self) -> int:
        """I."""
        return int(self._vectors.shape[1])

    def get(self, image_id: str) -> Floats | None:
        """The unit vector [I] of an image, or None if it is not in the catalogue."""
        row = self._rows.get(image_id)
        if row is None:
            return None
        vector = self._vectors[row].astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    def write_part(self, image_ids: Iterable[str], path: Path) -> int:
        """Write a catalogue of those of these images that this one has, equal to the last bit; how many these are."""
        kept = sorted({image_id for image_id in image_ids if image_id in self._rows})
        rows = [self._rows[image_id] for image_id in kept]
        np.savez(path, image_ids=np.array(kept, dtype=np.str_), vectors=self._vectors[rows])
        return len(kept)


def read_images(path: Path) -> ImageCatalogue:
    """The catalogue of a file.

    Raises:
        ConfigurationError: It is missing or of another form; an id is empty, too long or there twice; a vector is not
            finite or has no direction.
    """
    image_ids, vectors = _arrays(path)
    _require_ids(image_ids, path)
    with np.errstate(over="ignore", invalid="ignore"):  # is refused below
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    bad = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0.0)
    if bad.any():
        row = int(np.argmax(bad))
        said = "is all zeros" if lengths[row, 0] == 0.0 else "has numbers that are not finite"
        raise ConfigurationError(
            f"{int(bad.sum())} of the {len(image_ids)} vectors of the image catalogue {path} say nothing; that of "
            f"{image_ids[row]!r} {said}: leave such images out"
        )
    # Numbers that half precision can't hold are of a wider file, and may be scaled; others stay, so that a part is equal.
    kept = vectors if vectors.dtype == np.float16 else (vectors / lengths).astype(np.float16)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ImageCatalogue(image_ids, kept, sha256)


def _arrays(path: Path) -> tuple[list[str], NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            image_ids, vectors = arrays[_IDS], arrays[_VECTORS]
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
    ) as error:
        raise ConfigurationError(
            f"{path} is no image catalogue, a NumPy archive with {_IDS} and {_VECTORS} ({error}): {_WRITE_IT}"
        ) from error
    if (
        image_ids.dtype.kind != "U"
        or vectors.dtype.kind != "f"
        or vectors.ndim != 2
        or vectors.shape[1] == 0
        or image_ids.shape != vectors.shape[:1]
    ):
        raise ConfigurationError(
            f"the image catalogue {path} has {_IDS} {image_ids.dtype} {list(image_ids.shape)} and {_VECTORS} "
            f"{vectors.dtype} {list(vectors.shape)}; it must be text [n] and floats [n, I]: {_WRITE_IT}"
        )
    if not len(image_ids):
        raise ConfigurationError(f"the image catalogue {path} has no image: {_WRITE_IT}")
    return image_ids.tolist(), vectors


def _require_ids(image_ids: Sequence[str], path: Path) -> None:
    """Pass if an event can name each of them, and each only once."""
    seen: set[str] = set()
    for image_id in image_ids:
        if not 0 < len(image_id) <= _MAX_ID_CHARS:
            raise ConfigurationError(
                f"the image catalogue {path} has the id {image_id[:40]!r} of {len(image_id)} characters: an image_id "
                f"has 1 to {_MAX_ID_CHARS}"
            )
        if image_id in seen:
            raise ConfigurationError(
                f"the image catalogue {path} has {image_id!r} twice: give each image one vector"
            )
        seen.add(image_id)
