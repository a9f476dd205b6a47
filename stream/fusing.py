"""How an item's image joins its text in one vector; the trainer and the worker call this same function.

Shapes: D dimensions of a text vector, I of an image vector. All float32.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Fusion(NamedTuple):
    """How a model version takes images; frozen with it, for its head was trained on vectors fused so."""

    projection: Floats
    """[D, I]; takes a unit image vector to where the item's text would lie."""
    weight: float
    """Of the image against the text, 0 or more; 0: images change nothing."""

    @property
    def dimensions(self) -> int:
        """I."""
        return int(self.projection.shape[1])


def fused(text: Floats, image: Floats, fusion: Fusion) -> Floats:
    """The unit vector [D] of an item: ``text + weight * projection @ image``, brought to length 1.

    Args:
        text: Unit vector [D] of the item's text.
        image: Unit vector [I] of its image.
        fusion: Of the model version.

    Returns:
        ``text`` itself if the weight is 0, or if both parts cancel out.
    """
    if fusion.weight == 0.0:
        return text
    both = text + np.float32(fusion.weight) * (fusion.projection @ image)
    length = float(np.linalg.norm(both))
    return np.asarray(both / np.float32(length), dtype=np.float32) if length > 0.0 else text
