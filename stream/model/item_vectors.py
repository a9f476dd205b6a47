"""Vectors of items with images: the text's vector, from the cache or the model, fused with the image's."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from stream.errors import ConfigurationError
from stream.fusing import Floats, Fusion, fused
from stream.model.images import ImageCatalogue
from stream.model.observer import ModelObserver
from stream.model.port import ModelPort
from stream.model.repository import ModelBundle
from stream.model.vectors import TextEncoder, VectorCache
from stream.render import text_and_image, text_hash

log = structlog.get_logger(__name__)

#: Other tasks get their turn after so many new vectors: of images of 1,024 numbers about 1 ms.
_YIELD_EVERY: Final = 32


class ItemImages(NamedTuple):
    """The images that there are, and how the model version takes them."""

    catalogue: ImageCatalogue
    fusion: Fusion

    def key(self, encoder_version: str) -> str:
        """Of fused vectors in a cache: another encoder, projection, weight or catalogue gives others."""
        fusion = self.fusion
        told = f"{fusion.weight!r} {fusion.projection.shape} {self.catalogue.sha256}".encode()
        digest = hashlib.sha256(told + fusion.projection.tobytes()).hexdigest()
        return f"{encoder_version}+{digest[:32]}"


def item_images(catalogue: ImageCatalogue | None, bundle: ModelBundle) -> ItemImages | None:
    """What a version fuses items with; None if there are no images, or the version takes none, which is logged.

    Raises:
        ConfigurationError: The catalogue's vectors are not of the size that the version takes.
    """
    version, fusion = bundle.head.version, bundle.fusion
    if catalogue is None or fusion is None:
        if catalogue is not None:
            log.warning("images_not_used", version=version, reason="the version was trained on texts alone")
        elif fusion is not None:
            log.warning("images_not_used", version=version, reason="INTERESTFLOW_MODEL__IMAGES names none")
        return None
    if catalogue.dimensions != fusion.dimensions:
        raise ConfigurationError(
            f"the image catalogue of INTERESTFLOW_MODEL__IMAGES has vectors of {catalogue.dimensions} numbers, version "
            f"{version} takes {fusion.dimensions}: name the catalogue of the image encoder that it was trained with, or "
            "train a version with this one"
        )
    return ItemImages(catalogue, fusion)


class ItemEncoder(TextEncoder):
    """A ``TextEncoder`` of which items with a known image get the fused vector, the others their text's.

    Args:
        model: Who encodes texts.
        encoder_version: Of that model.
        cache: Holds text vectors and fused ones.
        images: What to fuse with, and how.
        observer: Told of each look-up.
    """

    def __init__(
        self,
        model: ModelPort,
        encoder_version: str,
        cache: VectorCache,
        images: ItemImages,
        *,
        observer: ModelObserver | None = None,
    ) -> None:
        super().__init__(model, encoder_version, cache, observer=observer)
        self._images = images
        self._fused_key = images.key(encoder_version)

    async def vectors(self, text_by_hash: Mapping[int, str]) -> dict[int, Floats]:
        """The vector [D] of every appearance, by its hash; see ``TextEncoder``.

        Raises:
            ModelUnavailableError: The model did not give all of the texts.
        """
        found: dict[int, Floats] = {}
        asked: dict[int, str] = {}
        #: Of items with an image whose vector is not at hand: the text's hash, and the image's vector if there is one.
        parts: dict[int, tuple[int, Floats | None]] = {}
        for appearance_hash, appeared in text_by_hash.items():
            text, image_id = text_and_image(appeared)
            if not image_id:
                asked[appearance_hash] = text
            elif (vector := self._cache.get((self._fused_key, appearance_hash))) is not None:
                found[appearance_hash] = vector
            else:
                # By the text's own hash, so that a text with several images is encoded once.
                plain = text_hash(text)
                asked[plain] = text
                parts[appearance_hash] = plain, self._images.catalogue.get(image_id)
        self._tell(len(found), [image for _, image in parts.values()])
        texts = await super().vectors(asked)
        for count, appearance_hash in enumerate(text_by_hash.keys() - found.keys(), start=1):
            plain, image = parts.get(appearance_hash, (appearance_hash, None))
            found[appearance_hash] = (
                texts[plain] if image is None else self._joined(appearance_hash, texts[plain], image)
            )
            if count % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return found

    def _joined(self, appearance_hash: int, text: Floats, image: Floats) -> Floats:
        vector = fused(text, image, self._images.fusion)
        vector.setflags(write=False)
        self._cache.put((self._fused_key, appearance_hash), vector)
        return vector

    def _tell(self, cached: int, images: Sequence[Floats | None]) -> None:
        if cached or images:
            unknown = sum(image is None for image in images)
            self._observer.images_looked_up(cached + len(images) - unknown, unknown)
        if cached:
            self._observer.vectors_looked_up(cached, 0, len(self._cache))
