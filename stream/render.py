"""How an item or a search becomes the text that the encoder reads and the category that the profile counts.

This exists once: the trainer and the worker call the same functions.

What a behaviour refers to is an *appearance*: the text, and behind a mark the id of the item's image if the event names one.
Without an image the appearance is the text.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from stream.events import BehaviourEvent, Item
from stream.hashing import hash64

#: Longer texts are cut before hashing; the encoder reads 64 tokens, about 300 characters.
MAX_TEXT_CHARS: Final = 512
#: Bound of the memo below: distinct item descriptions held per process (~400 bytes each).
_MEMO_SIZE: Final = 200_000
#: Hash that says "no category" or "no text".
NOTHING: Final = 0
_SPACES: Final = re.compile(r"\s+")
#: Between text and image id; it is white space, of which a text has single spaces only.
_IMAGE_MARK: Final = "\x1f"


class Rendered(NamedTuple):
    """What an item says: its appearance, the hash of that, and the hash of its interest category (0: none)."""

    text: str
    """The appearance; the text alone where the item has no image."""
    text_hash: int
    category_hash: int


_ItemKey = tuple[str | None, ...]
_memo: dict[tuple[int, _ItemKey], Rendered] = {}


def normalise(text: str) -> str:
    """Lower case, single spaces, no outer space."""
    return _SPACES.sub(" ", text).strip().lower()


def category_hash(category: str) -> int:
    """The profile's key of a category name: equal names are one interest wherever they stand in the tree."""
    return hash64(b"category:" + normalise(category).encode())


def text_hash(text: str) -> int:
    """The key of an appearance in ``catalog.texts`` and in every vector cache."""
    return hash64(b"text:" + text.encode())


def appearance(text: str, image_id: str | None) -> str:
    """What a behaviour refers to; no text, no appearance."""
    return f"{text}{_IMAGE_MARK}{image_id}" if image_id and text else text


def text_and_image(appeared: str) -> tuple[str, str]:
    """The parts of an appearance: what the encoder reads, and the id of the image, empty if there is none."""
    text, _, image_id = appeared.partition(_IMAGE_MARK)
    return text, image_id


def render_names(name: str | None, brand: str | None, categories: Iterable[str | None]) -> str:
    """One line: name, brand, then the categories from the most specific to the most general, without repeats."""
    parts: list[str] = []
    for part in (name, brand, *reversed(tuple(categories))):
        cleaned = normalise(part) if part else ""
        if cleaned and cleaned not in parts:
            parts.append(cleaned)
    return ", ".join(parts)[:MAX_TEXT_CHARS]


def render_item(item: Item, interest_level: int) -> Rendered:
    """Appearance and interest category of an item.

    Args:
        item: One product of an event.
        interest_level: Which of the item's categories is the interest, 1 to 5; the deepest given one if it has fewer.
    """
    key = (
        item.item_name,
        item.item_brand,
        item.item_category,
        item.item_category2,
        item.item_category3,
        item.item_category4,
        item.item_category5,
        item.image_id,
    )
    rendered = _memo.get((interest_level, key))
    if rendered is None:
        if len(_memo) >= _MEMO_SIZE:
            _memo.clear()
        rendered = _memo[interest_level, key] = _render(key, interest_level)
    return rendered


def _render(key: _ItemKey, interest_level: int) -> Rendered:
    name, brand, *categories, image_id = key
    text = appearance(render_names(name, brand, categories), image_id)
    interest = interest_category(categories, interest_level)
    return Rendered(
        text,
        text_hash(text) if text else NOTHING,
        category_hash(interest) if interest else NOTHING,
    )


def interest_category(categories: Sequence[str | None], interest_level: int) -> str:
    """The one of an item's categories that is its interest: the deepest given one down to a level; empty if none is."""
    named = [category for category in categories[:interest_level] if category and category.strip()]
    return named[-1] if named else ""


def render_event(event: BehaviourEvent, interest_level: int) -> list[Rendered]:
    """What an event shows interest in: one entry per item, or the words of a search."""
    if event.items:
        return [render_item(item, interest_level) for item in event.items]
    if event.event_type == "search" and event.search_term:
        text = normalise(event.search_term)[:MAX_TEXT_CHARS]
        return [Rendered(text, text_hash(text), NOTHING)] if text else []
    return []
