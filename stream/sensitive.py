"""Sensitive interests: what must never be scored, stored or emitted, by the words of its name.

The list itself is ``sensitive_interests.toml`` beside this file. Matching is by words, not by a model: anyone can read
what is withheld and why.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from stream.decode import Decoded
from stream.errors import ConfigurationError
from stream.events import Change, Item

#: The list that comes with the service.
DEFAULT_LIST: Final = Path(__file__).with_name("sensitive_interests.toml")
#: Distinct item descriptions whose topic is remembered per process.
_MEMO_SIZE: Final = 200_000
#: What the memory holds of an item without a topic.
_HARMLESS: Final = ""
#: Like normalised names: a list may be written in any case and width of space.
_SPACES: Final = re.compile(r"\s+")


class _Topic(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    words: list[str]
    iab: list[str] = []


class _List(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    always: Mapping[str, _Topic]
    optional: Mapping[str, _Topic] = {}


class SensitiveNames:
    """Says of names whether they are sensitive, and by which topic."""

    def __init__(
        self,
        words_by_topic: Mapping[str, Iterable[str]],
        iab_by_topic: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self._patterns = {topic: _pattern(words) for topic, words in words_by_topic.items()}
        self._topic_by_iab = {cat: topic for topic, cats in (iab_by_topic or {}).items() for cat in cats}
        self._memo: dict[tuple[str | None, ...], str] = {}

    def topic_of(self, names: Iterable[str | None]) -> str | None:
        """The first topic that one of the names belongs to; None if they are harmless."""
        # Joined by what no word of a list crosses.
        text = " | ".join(_SPACES.sub(" ", name) for name in names if name).lower()
        return next((topic for topic, pattern in self._patterns.items() if pattern.search(text)), None)

    def topic_of_item(self, item: Item) -> str | None:
        """The same for a product, by its name, brand and all its categories."""
        names = (
            item.item_name,
            item.item_brand,
            item.item_category,
            item.item_category2,
            item.item_category3,
            item.item_category4,
            item.item_category5,
        )
        topic = self._memo.get(names)
        if topic is None:
            if len(self._memo) >= _MEMO_SIZE:
                self._memo.clear()
            topic = self._memo[names] = self.topic_of(names) or _HARMLESS
        return topic or None

    def is_harmless(self, item: Item) -> bool:
        """Whether a product has no topic."""
        return self.topic_of_item(item) is None

    def topic_of_categories(self, cats: Iterable[str]) -> str | None:
        """The same for IAB categories; one of the list stands for those below it."""
        for cat in cats:
            topic = self._topic_by_iab.get(cat) or self._topic_by_iab.get(cat.partition("-")[0])
            if topic is not None:
                return topic
        return None


#: For tools and tests of which nothing is published.
NOTHING_SENSITIVE: Final = SensitiveNames({})


def withhold(decoded: Decoded, names: SensitiveNames) -> Decoded:
    """The event without its sensitive items or search words, and with that as its change; else the same event.

    What is left still counts: an order stays an order, its id is known again.
    """
    event = decoded.event
    if event.items:
        if all(map(names.is_harmless, event.items)):
            return decoded
        harmless = list(filter(names.is_harmless, event.items))
        left = event.model_copy(update={"items": harmless, "search_term": None})
    elif event.search_term and names.topic_of((event.search_term,)) is not None:
        left = event.model_copy(update={"search_term": None})
    else:
        return decoded
    return decoded._replace(event=left, change=Change.SENSITIVE)


def read_list(content: str, optional: Iterable[str], origin: str) -> SensitiveNames:
    """The names of a list.

    Args:
        content: TOML as in ``sensitive_interests.toml``.
        optional: Which of its optional topics hold.
        origin: Where it is from, for errors.

    Raises:
        ConfigurationError: If it is no such list, or has no such optional topic.
    """
    try:
        parsed = _List.model_validate(tomllib.loads(content))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigurationError(
            f"{origin} is no list of sensitive interests ({_first_line(error)}): write [always.TOPIC] and "
            "[optional.TOPIC] tables with words and iab, as the list that comes with the service"
        ) from error
    chosen = list(optional)
    unknown = sorted(set(chosen) - parsed.optional.keys())
    if unknown:
        raise ConfigurationError(
            f"INTERESTFLOW_SENSITIVE__OPTIONAL names {', '.join(unknown)}; {origin} has "
            f"{', '.join(sorted(parsed.optional)) or 'no optional topics'}: name one of these or add a table"
        )
    topics = {**parsed.always, **{name: parsed.optional[name] for name in chosen}}
    return SensitiveNames(
        {name: topic.words for name, topic in topics.items()},
        {name: topic.iab for name, topic in topics.items()},
    )


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Whole words; a ``*`` at the end stands for more letters."""
    parts = []
    for word in words:
        cleaned = _SPACES.sub(" ", word).strip().lower()
        if not cleaned.rstrip("*"):
            raise ConfigurationError(
                f"{word!r} in a list of sensitive interests matches everything: write a word"
            )
        parts.append(re.escape(cleaned.rstrip("*")) + (r"\w*" if cleaned.endswith("*") else ""))
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)") if parts else re.compile(r"(?!)")


def _first_line(error: Any) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
