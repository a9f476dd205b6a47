"""The label set: what the head scores, in the row order of SCORES."""

import re
from hashlib import sha256
from typing import Final, NamedTuple

from stream.render import category_hash

TAXONOMY: Final = "completejourney.product_category"
INTEREST_LEVEL: Final = 2
_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")


class Interest(NamedTuple):
    """One interest; ``category`` is the name whose hash is the profile's key."""

    id: str
    name: str
    category: str


class LabelSet:
    """L interests in row order, with the row of each category hash."""

    def __init__(self, categories: list[str]) -> None:
        self.interests = [Interest(slug(category), category, category) for category in categories]
        ids = [interest.id for interest in self.interests]
        if len(set(ids)) != len(ids):
            repeated = sorted({name for name in ids if ids.count(name) > 1})
            raise ValueError(f"interest ids repeat: {', '.join(repeated)}; name these categories apart")
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
            "taxonomy": TAXONOMY,
            "interest_level": INTEREST_LEVEL,
            "half_life_days": half_life_days,
            "label_set_hash": self.hash,
            "interests": [interest._asdict() for interest in self.interests],
        }


def slug(name: str) -> str:
    """Lower-case letters and digits joined by single hyphens."""
    return _NOT_SLUG.sub("-", name.lower()).strip("-")
