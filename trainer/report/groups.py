"""Which group each household is in: from the Complete Journey's demographics, or from a shop's own file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from stream.replay.journey_tables import read_table
from trainer.errors import TrainerError
from trainer.events.journey import data_hash
from trainer.report.fairness import Groups
from trainer.samples import Samples

_USER: Final = "user_id"
#: The data's twelve bands hold as few as five households.
_INCOME: Final = {
    "Under 15K": "under 35K",
    "15-24K": "under 35K",
    "25-34K": "under 35K",
    "35-49K": "35-74K",
    "50-74K": "35-74K",
    "75-99K": "75-124K",
    "100-124K": "75-124K",
    "125-149K": "over 124K",
    "150-174K": "over 124K",
    "175-199K": "over 124K",
    "200-249K": "over 124K",
    "250K+": "over 124K",
}


def household_groups(samples: Samples, path: Path | None = None) -> Groups:
    """The groups of the samples' households by attribute; none where nothing is known.

    Args:
        samples: Whose households.
        path: CSV with a column ``user_id`` and one per attribute. Without it the Complete Journey's age and income
            (801 of 2,469 households, the heavy shoppers), and nothing for other data.

    Raises:
        TrainerError: If the file has no such columns, or names none of the households.
    """
    if path is not None:
        return _in_row_order(_read_groups(path), samples.households, str(path))
    if samples.data["sha256"] != data_hash():
        return {}
    return _in_row_order(_journey_groups(), samples.households, "the demographics")


def _journey_groups() -> dict[str, dict[str, str]]:
    table = read_table("demographics", ["household_id", "age", "income"]).to_pydict()
    users = [str(household) for household in table["household_id"]]
    income = [_INCOME.get(band, "") for band in table["income"]]
    ages = [age or "" for age in table["age"]]
    return {
        "age": dict(zip(users, ages, strict=True)),
        "income": dict(zip(users, income, strict=True)),
    }


def _read_groups(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        attributes = [name for name in rows.fieldnames or [] if name != _USER]
        if _USER not in (rows.fieldnames or []) or not attributes:
            raise TrainerError(
                f"{path} has the columns {', '.join(rows.fieldnames or []) or 'none'}: groups need {_USER} and one per attribute"
            )
        told = list(rows)
    return {name: {row[_USER]: row[name] or "" for row in told} for name in attributes}


def _in_row_order(
    by_attribute: Mapping[str, Mapping[str, str]], households: Sequence[str], source: str
) -> Groups:
    found = {name: [of.get(household, "") for household in households] for name, of in by_attribute.items()}
    if not any(group for groups in found.values() for group in groups):
        raise TrainerError(
            f"{source} names none of the samples' users: give their ids as the events have them"
        )
    return found
