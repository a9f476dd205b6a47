"""The label set: what the head scores, in the row order of SCORES."""

import re
from hashlib import sha256
from typing import Final, NamedTuple

from stream.render import category_hash
from trainer.errors import TrainerError

_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")


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
        TrainerError: If two names have the same id, or one has none.
    """

    def __init__(self, categories: list[str], taxonomy: str = "shop.category", level: int = 2) -> None:
        self.taxonomy = taxonomy
        self.level = level
        self.interests = [Interest(slug(category), category, category) for category in categories]
        ids = [interest.id for interest in self.interests]
        if len(set(ids)) != len(ids):
            repeated = sorted({name for name in ids if ids.count(name) > 1})
            raise TrainerError(f"interest ids repeat: {', '.join(repeated)}; name these categories apart")
        self.row_by_category = {category_hash(category): row for row, category in enumerate(categories)}
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


def slug(name: str) -> str:
    """Lower-case letters and digits joined by single hyphens."""
    return _NOT_SLUG.sub("-", name.lower()).strip("-")
