"""The label set: what the head scores, in the row order of SCORES."""

import unicodedata
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from stream.render import category_hash
from trainer.errors import TrainerError

#: First letters of the Unicode categories that a slug keeps: letters, the marks on them, numbers.
_KEPT: Final = frozenset("LMN")
_HASH_CHARS: Final = 8


class Interest(NamedTuple):
    """One interest; ``category`` is the name whose hash is the profile's key."""

    id: str
    name: str
    category: str


class LabelSet:
    """L interests in row order, with the row of each category hash.

    Args:
        categories: Names in row order.
        taxonomy: Name of the category tree.
        level: Which of an item's categories is the interest, 1 to 5 (``stream.render``).

    Raises:
        TrainerError: If a name comes twice, up to case and spaces.
    """

    def __init__(self, categories: list[str], taxonomy: str = "shop.category", level: int = 2) -> None:
        self.taxonomy = taxonomy
        self.level = level
        ids = interest_ids(categories)
        self.interests = [Interest(*named) for named in zip(ids, categories, categories, strict=True)]
        self.row_by_category = {category_hash(category): row for row, category in enumerate(categories)}
        if len(self.row_by_category) != len(categories):
            kept = set(self.row_by_category.values())
            repeated = ", ".join(repr(name) for row, name in enumerate(categories) if row not in kept)
            raise TrainerError(f"categories repeat, up to case and spaces: {repeated}; list each once")
        self.hash = sha256("\n".join(ids).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.interests)

    @property
    def names(self) -> list[str]:
        """The names in row order."""
        return [interest.name for interest in self.interests]

    def document(self, half_life_days: int) -> dict[str, object]:
        """What ``labels.json`` holds."""
        return {
            "taxonomy": self.taxonomy,
            "interest_level": self.level,
            "half_life_days": half_life_days,
            "label_set_hash": self.hash,
            "interests": [interest._asdict() for interest in self.interests],
        }


def interest_ids(names: Sequence[str]) -> list[str]:
    """An id per name, in order, each once: the slug; with a hash of the name if an earlier name has that slug, or none is left."""
    ids: list[str] = []
    for name in names:
        short = slug(name)
        if not short or short in ids:
            short = f"{short or 'category'}-{sha256(name.encode()).hexdigest()[:_HASH_CHARS]}"
        ids.append(short)
    return ids


def slug(name: str) -> str:
    """Lower-case letters and digits of any script, joined by single hyphens."""
    composed = unicodedata.normalize("NFKC", name).lower()
    spaced = "".join(char if unicodedata.category(char)[0] in _KEPT else " " for char in composed)
    return "-".join(spaced.split())
