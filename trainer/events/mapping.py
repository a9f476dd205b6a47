"""Mapping files: a TOML file that says which columns of a shop's table are which fields of the input contract."""

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.archive.description import InterestChoice
from trainer.errors import TrainerError

#: Values of ``[times] format`` that are no strptime formats.
ISO: Final = "iso"
EPOCH_SECONDS: Final = "epoch_s"
EPOCH_MS: Final = "epoch_ms"

_FROZEN: Final = ConfigDict(frozen=True, extra="forbid")


class Columns(BaseModel):
    """Names of the table's columns by the field that they give; what is left out is not given."""

    model_config = _FROZEN

    user_id: str
    occurred_at: str
    #: When the event reached the shop's systems, if that can be later: what is delayed is no feature before.
    received_at: str | None = None
    event_type: str | None = None
    event_id: str | None = None
    transaction_id: str | None = None
    session_id: str | None = None
    currency: str | None = None
    search_term: str | None = None
    cid: str | None = None
    crid: str | None = None
    item_id: str | None = None
    item_name: str | None = None
    item_brand: str | None = None
    #: The most general first.
    item_categories: Annotated[tuple[str, ...], Field(max_length=5)] = ()
    #: Of the item's image in the image catalogue.
    image_id: str | None = None
    price: str | None = None
    quantity: str | None = None

    def names(self) -> list[str]:
        """All columns read, each once, in a fixed order."""
        given = [value for name, value in self if name != "item_categories" and value is not None]
        return list(dict.fromkeys([*given, *self.item_categories]))


class Constants(BaseModel):
    """Fields that are the same in every row."""

    model_config = _FROZEN

    event_type: str | None = None
    currency: str | None = None


class Times(BaseModel):
    """How times are written."""

    model_config = _FROZEN

    #: ``iso``, ``epoch_s``, ``epoch_ms`` or a format of Python's ``strptime``.
    format: str = ISO
    #: IANA name; of times that give no offset.
    zone: str | None = None

    @cached_property
    def zone_info(self) -> ZoneInfo | None:
        """The zone."""
        return None if self.zone is None else ZoneInfo(self.zone)


class Numbers(BaseModel):
    """How prices and quantities are written."""

    model_config = _FROZEN

    #: ``.`` or ``,``; the other one is taken for a mark between thousands.
    decimal: Annotated[str, Field(pattern=r"^[.,]$")] = "."


class Csv(BaseModel):
    """How CSV files are written; what is left out is found out."""

    model_config = _FROZEN

    delimiter: str | None = None
    encoding: str = "utf-8"


class Mapping(BaseModel):
    """One mapping file."""

    model_config = _FROZEN

    #: Names the data in the model's manifest.
    name: str
    #: ``source`` of every event.
    source: Annotated[str, Field(min_length=1, max_length=256)]
    columns: Columns
    constants: Constants = Constants()
    #: The shop's word to the contract's event type; a word that is none of these is taken as it is.
    event_types: dict[str, str] = {}
    times: Times = Times()
    numbers: Numbers = Numbers()
    csv: Csv = Csv()
    interests: InterestChoice = InterestChoice()

    @property
    def joins_lines(self) -> bool:
        """Whether rows of one transaction are lines of one event."""
        return self.columns.transaction_id is not None and self.columns.event_id is None


def read_mapping(path: Path) -> Mapping:
    """The mapping of a file.

    Raises:
        TrainerError: If it can't be read, or names what there isn't.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainerError(f"the mapping {path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainerError(f"the mapping {path} is no TOML: {error}") from error
    try:
        mapping = Mapping.model_validate(document)
        zone = mapping.times.zone_info
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TrainerError(f"the mapping {path} does not fit at {field}: {first['msg']}") from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise TrainerError(
            f"the mapping {path} names the time zone {document['times']['zone']!r}, which is not known: "
            "use an IANA name, as Europe/Berlin"
        ) from error
    del zone
    if mapping.columns.event_type is None and mapping.constants.event_type is None:
        raise TrainerError(
            f"the mapping {path} says nothing of event types: give columns.event_type, or constants.event_type if all "
            "rows are of one"
        )
    return mapping
