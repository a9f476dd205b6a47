"""Items with images: the projection that takes image vectors to where texts lie, and the fused vectors of samples.

Shapes: n items, D dimensions of a text vector, I of an image vector.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import cross_val_predict

from stream.fusing import Floats, Fusion, fused
from stream.model.images import ImageCatalogue
from stream.render import text_and_image
from trainer.errors import TrainerError
from trainer.samples import Samples

#: A ridge of so many equations is determined; more only take memory.
_MOST_ITEMS: Final = 20_000
#: From hardly any shrinking to almost none of the image left; one of them is chosen by leaving each item out.
_PENALTIES: Final = (0.01, 0.1, 1.0, 10.0, 100.0)
_FOLDS: Final = 5
#: In a run's directory.
_PROJECTION: Final = "image_projection.npy"
_WEIGHT: Final = "image_weight.json"


class Fitted(NamedTuple):
    """A projection, and what was found."""

    projection: Floats
    """[D, I], rounded to half precision, in which it is published."""
    figures: dict[str, Any]
    """Items, the ridge's penalty, and the mean cosine of a left-out item's projected image with its text."""


def fit_projection(texts: Floats, images: Floats, seed: int = 0) -> Fitted:
    """Ridge regression from images to texts.

    Args:
        texts: Unit vectors of items' texts, [n, D].
        images: Unit vectors of the same items' images, [n, I].
        seed: Which items are drawn if there are very many.

    Raises:
        TrainerError: There are fewer than two items.
    """
    if len(texts) < 2:
        raise TrainerError(
            f"{len(texts)} items of the samples have an image in the catalogue, and a projection needs at least 2: see "
            "that the events' image_id are the catalogue's, or make the samples without images"
        )
    rows = np.random.default_rng(seed).permutation(len(texts))[:_MOST_ITEMS]
    given, wanted = images[rows].astype(np.float64), texts[rows].astype(np.float64)
    penalty = float(RidgeCV(_PENALTIES, fit_intercept=False).fit(given, wanted).alpha_)
    ridge = Ridge(penalty, fit_intercept=False)
    told = cross_val_predict(ridge, given, wanted, cv=min(_FOLDS, len(rows)))
    projection = ridge.fit(given, wanted).coef_.astype(np.float16).astype(np.float32)
    figures = {"items": len(texts), "penalty": penalty, "left_out_cosine": _mean_cosine(told, wanted)}
    return Fitted(projection, figures)


def fit_fusion(samples: Samples, texts: Floats, weight: float, directory: Path) -> dict[str, Any]:
    """Fit a run's projection on the samples' items that have an image, and keep it; figures, empty if there are no images.

    Args:
        samples: With the images that their events name, or without.
        texts: Vectors of their texts, [n, D].
        weight: Of the image against the text; 0: no images.
        directory: Of the run; what an earlier training left there is replaced.

    Raises:
        TrainerError: Fewer than two items have an image, or the weight is below 0.
    """
    if weight < 0.0:
        raise TrainerError(f"encoder.image_weight is {weight:g}: set it to 0 (no images) or above")
    catalogue = samples.images()
    if catalogue is None or weight == 0.0:
        keep_fusion(directory, None)
        return {}
    found = [catalogue.get(image_id) for image_id in samples.image_ids]
    rows = [row for row, image in enumerate(found) if image is not None]
    images = np.array([found[row] for row in rows], dtype=np.float32).reshape(-1, catalogue.dimensions)
    projection, figures = fit_projection(texts[rows], images)
    keep_fusion(directory, Fusion(projection, weight))
    return {**figures, "dimensions": catalogue.dimensions, "weight": weight}


def keep_fusion(directory: Path, fusion: Fusion | None) -> None:
    """Keep how a run's version takes images; None: it takes none."""
    paths = directory / _PROJECTION, directory / _WEIGHT
    if fusion is None:
        for path in paths:
            path.unlink(missing_ok=True)
        return
    np.save(paths[0], fusion.projection)
    paths[1].write_text(json.dumps({"weight": fusion.weight}), encoding="utf-8")


def kept_fusion(directory: Path) -> Fusion | None:
    """How a run's version takes images; None if it takes none."""
    paths = directory / _PROJECTION, directory / _WEIGHT
    if not all(path.exists() for path in paths):
        return None
    return Fusion(np.load(paths[0]), float(json.loads(paths[1].read_text(encoding="utf-8"))["weight"]))


def fused_texts(texts: Floats, samples: Samples, fusion: Fusion | None) -> Floats:
    """The vectors [n, D] of the samples' appearances, each as a worker makes it with the same function.

    Args:
        texts: Vectors of their texts, [n, D].
        samples: Whose.
        fusion: Of the version; None: it takes no images.

    Raises:
        TrainerError: The version takes images, and the samples have none or of another size.
    """
    if fusion is None:
        return texts
    catalogue = samples.images()
    if catalogue is None or catalogue.dimensions != fusion.dimensions:
        there = "none" if catalogue is None else f"images of {catalogue.dimensions}"
        raise TrainerError(
            f"the version takes images of {fusion.dimensions} numbers, and the samples have {there}: make the samples again "
            "with `interestflow-trainer samples --images FILE`, FILE the catalogue of the same image encoder"
        )
    both = texts.copy()
    for row, image_id in enumerate(samples.image_ids):
        image = catalogue.get(image_id)
        if image is not None:
            both[row] = fused(texts[row], image, fusion)
    return both


def keep_images(appearances: Sequence[str], catalogue: ImageCatalogue | None, path: Path) -> None:
    """Write the part of a catalogue that appearances name, or remove what was there.

    Raises:
        TrainerError: It has none of them.
    """
    path.unlink(missing_ok=True)
    if catalogue is None:
        return
    named = {image_id for _, image_id in map(text_and_image, appearances) if image_id}
    if not any(catalogue.get(image_id) is not None for image_id in named):
        some = f"such as {min(named)!r}" if named else "none at all"
        raise TrainerError(
            f"no image that the events name ({some}) is among the {len(catalogue)} of the catalogue: an item's image_id "
            "must be an id of the catalogue; or make the samples without --images"
        )
    catalogue.write_part(named, path)


def image_counts(samples: Samples) -> dict[str, int]:
    """How many appearances name an image, and of how many the vector is known."""
    catalogue = samples.images()
    named = [image_id for image_id in samples.image_ids if image_id]
    known = [image_id for image_id in named if catalogue is not None and catalogue.get(image_id) is not None]
    return {"named": len(named), "known": len(known)}


def _mean_cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())
