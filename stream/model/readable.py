"""How much of what a user looked at the encoder can read: a low share says that the scores lean on history alone."""

from collections.abc import Mapping, Sequence
from typing import Final

from stream.model.tokens import Tokeniser
from stream.render import text_and_image

#: Bound of the memory below (about 100 bytes a text).
_MEMORY: Final = 200_000


class ReadableTexts:
    """Which texts the encoder reads; each is looked at once."""

    def __init__(self, tokeniser: Tokeniser) -> None:
        self._tokeniser = tokeniser
        self._reads: dict[int, bool] = {}

    def look_at(self, texts: Mapping[int, str]) -> None:
        """Take note of texts by their hash."""
        new = [text_hash for text_hash in texts if text_hash not in self._reads]
        if not new:
            return
        if len(self._reads) + len(new) > _MEMORY:
            self._reads.clear()
            new = list(texts)
        told = [text_and_image(texts[one])[0] for one in new]
        self._reads.update(zip(new, self._tokeniser.reads(told), strict=True))

    def coverage(self, text_hashes: Sequence[int]) -> float:
        """The share of these behaviours whose text is known and can be read; 1 for none at all."""
        if not text_hashes:
            return 1.0
        return sum(self._reads.get(one, False) for one in text_hashes) / len(text_hashes)
