"""``events.json``, the file that makes an event archive whole: what it holds and where it is from."""

import json
import os
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from stream.errors import ConfigurationError

FORMAT_VERSION: Final = 1
DESCRIPTION_FILE: Final = "events.json"


class InterestChoice(BaseModel):
    """Which item categories a model is to score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Which of an item's categories is the interest, 1 to 5 (``stream.render``).
    level: int = 2
    #: Name of the category tree, for readers of the model.
    taxonomy: str = "shop.category"
    #: An interest needs so many buyers, not held out and before validation.
    min_buyers: int = 30
    #: These and no others, in any order; empty: those with enough buyers.
    categories: tuple[str, ...] = ()


class Description(BaseModel):
    """What an archive says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = FORMAT_VERSION
    #: Names the data in a model's manifest.
    name: str
    #: Of what the events were made from.
    sha256: str
    events: int
    rejects: dict[str, int]
    #: Files that ``partition`` counts, for imports; empty for records of Kafka.
    files: tuple[str, ...] = ()
    interests: InterestChoice = InterestChoice()
    #: Users of whom nothing may be known yet, besides those of the events.
    users: tuple[str, ...] = ()
    #: Ad campaigns with their creatives, as the adapter of a data set knows them.
    campaigns: tuple[dict[str, Any], ...] = ()


def is_finished(directory: Path) -> bool:
    """Whether a directory holds an archive that was written to its end."""
    return (directory / DESCRIPTION_FILE).exists()


def read_description(directory: Path) -> Description:
    """The description of an archive.

    Raises:
        ConfigurationError: If the directory holds none, an unfinished or a newer one.
    """
    path = directory / DESCRIPTION_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{directory} holds no finished event archive ({DESCRIPTION_FILE} is missing): import or record the events "
            "again into it"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON ({error}): import or record the events again") from error
    if isinstance(document, dict) and document.get("version", FORMAT_VERSION) != FORMAT_VERSION:
        raise ConfigurationError(
            f"{path} has version {document['version']}, this release reads {FORMAT_VERSION}: import the events again"
        )
    try:
        return Description.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(f"{path} is not what an import writes: {error}") from error


def write_description(directory: Path, description: Description) -> None:
    """Write it whole or not at all."""
    draft = directory / f".{DESCRIPTION_FILE}.{os.getpid()}"
    draft.write_text(description.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.replace(directory / DESCRIPTION_FILE)
