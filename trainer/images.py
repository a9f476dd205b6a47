"""Items with images: the projection that takes image vectors to where texts lie, and the fused vectors of samples.

Shapes: n items, D dimensions of a text vector, I of an image vector.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import cross_val_predict

from stream.fusing import Floats, Fusion, fused
from stream.model.images import ImageCatalogue
from trainer.errors import TrainerError

#: A ridge of so many equations is determined; more only take memory.
_MOST_ITEMS: Final = 20_000
#: From hardly any shrinking to almost none of the image left; one of them is chosen by leaving each item out.
_ALPHAS: Final = (0.01, 0.1, 1.0, 10.0, 100.0)
_FOLDS: Final = 5


class Fitted(NamedTuple):
    """A projection, and what was found."""

    projection: Floats
    """[D, I], rounded to half precision, in which it is stored."""
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
            "that the events' image_id are the catalogue's, or train without images"
        )
    rows = np.random.default_rng(seed).permutation(len(texts))[:_MOST_ITEMS]
    given, wanted = images[rows].astype(np.float64), texts[rows].astype(np.float64)
    alpha = float(RidgeCV(_ALPHAS, fit_intercept=False).fit(given, wanted).alpha_)
    ridge = Ridge(alpha, fit_intercept=False)
    told = cross_val_predict(ridge, given, wanted, cv=min(_FOLDS, len(rows)))
    projection = ridge.fit(given, wanted).coef_.astype(np.float16).astype(np.float32)
    figures = {"items": len(texts), "penalty": alpha, "left_out_cosine": _mean_cosine(told, wanted)}
    return Fitted(projection, figures)


def fused_texts(
    texts: Floats, image_ids: list[str], catalogue: ImageCatalogue | None, fusion: Fusion | None
) -> Floats:
    """The vectors [n, D] as a worker would fuse them, one by one with the same function.

    Args:
        texts: Unit vectors of texts, [n, D].
        image_ids: Of each, empty where there is none.
        catalogue: None: there are no images.
        fusion: None: the version takes no images.
    """
    if catalogue is None or fusion is None:
        return texts
    both = texts.copy()
    for row, image_id in enumerate(image_ids):
        image = catalogue.get(image_id)
        if image is not None:
            both[row] = fused(texts[row], image, fusion)
    return both


def _mean_cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())
