"""Other windows that mean nearly the same: what a model is shown so that it doesn't learn one window by heart.

Pure functions of behaviours and a generator; the behaviours given are never changed. T behaviours, oldest first.
Sources: Xie et al. 2022, Contrastive Learning for Sequential Recommendation (crop, mask, reorder); Liu et al. 2021,
Contrastive Self-supervised Sequential Recommendation with Robust Augmentation (substitute); Wei and Zou 2019, EDA (synonym).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from trainer.samples import Snapshot

Rows = NDArray[np.int64]
Augmentation = Literal["crop", "mask", "reorder", "neighbour", "synonym"]
AUGMENTATIONS: Final[tuple[Augmentation, ...]] = get_args(Augmentation)
#: How much of a window each changes; a crop keeps the rest.
RATIOS: Final[Mapping[Augmentation, float]] = {
    "crop": 0.4,
    "mask": 0.2,
    "reorder": 0.3,
    "neighbour": 0.2,
    "synonym": 0.3,
}
#: Words of shops that stand for one another.
SYNONYMS: Final[Mapping[str, str]] = {
    "bags": "sacks", "bread": "loaf", "breaded": "crumbed", "candy": "sweets", "carbonated": "sparkling", "chips": "crisps",
    "cleaners": "cleansers", "cookies": "biscuits", "crackers": "crispbread", "dessert": "pudding", "diapers": "nappies",
    "dinners": "meals", "dressing": "sauce", "entrees": "mains", "frozen": "deep frozen", "frzn": "frozen", "greeting": "wishing",
    "ground": "minced", "jelly": "jam", "juice": "nectar", "kitchen": "cooking", "lunchmeat": "cold cuts", "multi": "several",
    "napkin": "serviette", "paper": "tissue", "pop": "soda", "prepared": "ready", "refrgratd": "chilled", "refrigerated": "chilled",
    "rolls": "buns", "seafood": "fish", "shampoo": "hair wash", "shrimp": "prawns", "snack": "nibble", "snacks": "nibbles",
    "soap": "wash", "soft drinks": "soda", "soup": "broth", "tissue": "wipes", "toilet": "bath", "trash": "rubbish",
    "turkey": "poultry", "vegetables": "greens", "yogurt": "yoghurt",
}  # fmt: skip
_LEAST_NEIGHBOUR_COSINE: Final = 0.5


class Behaviours(NamedTuple):
    """A behaviour window: row of the text, kind and time of each, oldest first, [T] each."""

    texts: Rows
    kinds: NDArray[np.uint8]
    occurred_ms: NDArray[np.int64]

    def at(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> "Behaviours":
        """Some of them."""
        return Behaviours(self.texts[places], self.kinds[places], self.occurred_ms[places])


#: One augmentation with everything it needs but the window and the generator.
Alter = Callable[[Behaviours, np.random.Generator], Behaviours]


class Substitutes(NamedTuple):
    """What may stand for each text: rows of texts, none where there is nothing."""

    neighbours: Sequence[Rows]
    synonyms: Sequence[Rows]


def crop(behaviours: Behaviours, ratio: float, draw: np.random.Generator) -> Behaviours:
    """A run of behaviours without ``ratio`` of the window; one at least is kept."""
    length = len(behaviours.texts)
    kept = min(length, max(1, round(length * (1.0 - ratio))))
    start = int(draw.integers(0, length - kept + 1))
    return behaviours.at(np.arange(start, start + kept))


def mask(behaviours: Behaviours, ratio: float, draw: np.random.Generator) -> Behaviours:
    """Without each behaviour with probability ``ratio``; one at least is kept."""
    length = len(behaviours.texts)
    kept = draw.random(length) >= ratio
    if length and not kept.any():
        kept[draw.integers(0, length)] = True
    return behaviours.at(kept)


def reorder(behaviours: Behaviours, ratio: float, draw: np.random.Generator) -> Behaviours:
    """A run of ``ratio`` of the window in another order; the times stay where they were."""
    length = len(behaviours.texts)
    span = round(length * ratio)
    start = int(draw.integers(0, length - span + 1))
    places = np.arange(length)
    places[start : start + span] = draw.permutation(places[start : start + span])
    return behaviours.at(places)._replace(occurred_ms=behaviours.occurred_ms)


def substitute(
    behaviours: Behaviours, candidates: Sequence[Rows], ratio: float, draw: np.random.Generator
) -> Behaviours:
    """Each behaviour with probability ``ratio`` about another text, drawn from what may stand for its own."""
    texts = behaviours.texts.copy()
    for place in np.flatnonzero(draw.random(len(texts)) < ratio):
        allowed = candidates[texts[place]]
        if len(allowed):
            texts[place] = draw.choice(allowed)
    return behaviours._replace(texts=texts)


def neighbours(vectors: NDArray[np.float32], count: int) -> list[Rows]:
    """The rows nearest to each text by the cosine of unit vectors [texts, D], without what is far from it."""
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -1.0)
    count = min(count, len(vectors) - 1)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    return [row[cosine[place, row] >= _LEAST_NEIGHBOUR_COSINE] for place, row in enumerate(nearest)]


def with_synonyms(
    texts: Sequence[str], synonyms: Mapping[str, str] = SYNONYMS
) -> tuple[list[str], list[Rows]]:
    """All texts and, behind them, each text that has a known word with a synonym in its place; and which rows these are."""
    longest_first = sorted(synonyms, key=len, reverse=True)
    known = (
        re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b") if synonyms else re.compile("(?!)")
    )
    told, rows = list(texts), []
    for text in texts:
        other = known.sub(lambda found: synonyms[found[0]], text)
        rows.append(np.array([len(told)] if other != text else [], dtype=np.int64))
        if other != text:
            told.append(other)
    return told, [*rows, *(np.zeros(0, dtype=np.int64) for _ in told[len(texts) :])]


def one_of(names: Sequence[Augmentation], substitutes: Substitutes) -> Alter:
    """An augmentation that is drawn anew for each window."""
    candidates = {"neighbour": substitutes.neighbours, "synonym": substitutes.synonyms}
    plain = {"crop": crop, "mask": mask, "reorder": reorder}

    def alter(behaviours: Behaviours, draw: np.random.Generator) -> Behaviours:
        name = names[int(draw.integers(0, len(names)))]
        if name in plain:
            return plain[name](behaviours, RATIOS[name], draw)
        return substitute(behaviours, candidates[name], RATIOS[name], draw)

    return alter


def windows_of(snapshot: Snapshot, rows: NDArray[np.int64]) -> list[Behaviours]:
    """The behaviour windows of some rows of a snapshot."""
    found = []
    for row in rows.tolist():
        length = int((snapshot.window_texts[row] >= 0).sum())
        found.append(
            Behaviours(
                snapshot.window_texts[row, :length].astype(np.int64),
                snapshot.window_kinds[row, :length],
                snapshot.window_occurred[row, :length],
            )
        )
    return found
