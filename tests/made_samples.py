"""A samples directory of a made shop with the shipped interests: three kinds of shoppers, each with its own aisle."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES
from stream.model.repository import newest_version
from trainer.calendar import calendar_of
from trainer.dates import DAY_SECONDS, seconds
from trainer.events.journey import INTEREST_LEVEL, TAXONOMY
from trainer.samples import Purchases, Snapshot, cutoff_path, purchases_path, write_description

REPOSITORY = Path(__file__).parents[1] / "triton_models"
PLACES = 16
_CALENDAR = calendar_of(date(2017, 1, 1), date(2018, 1, 1))
_BASKETS = 24
_AISLE = 20


def write_made_samples(directory: Path, households: int = 150, seed: int = 0) -> None:
    """Write what ``interestflow-trainer samples`` would, small: snapshots of four-weekly fit cutoffs and validation."""
    directory.mkdir(parents=True, exist_ok=True)
    labels = json.loads(
        (newest_version(REPOSITORY / "interest_head") / "labels.json").read_text(encoding="utf-8")
    )
    categories = [interest["category"] for interest in labels["interests"]]
    document = {
        "categories": categories,
        "taxonomy": TAXONOMY,
        "interest_level": INTEREST_LEVEL,
        "households": [str(household) for household in range(1, households + 1)],
        "texts": [f"{category}, grocery" for category in categories],
        "calendar": _CALENDAR.document(),
        "data": {"name": "A made shop", "sha256": "5a" * 32},
        "campaigns": [],
        "mailed": [],
    }
    purchases = _purchases(households, np.random.default_rng(seed))
    np.savez(purchases_path(directory), **purchases._asdict(), received_seconds=purchases.at_seconds)
    for day in _CALENDAR.cutoffs()[: -len(_CALENDAR.tests)]:
        snapshot = _snapshot(purchases, households, len(categories), seconds(day))
        np.savez(cutoff_path(directory, day), **snapshot._asdict())
    write_description(directory, document)


def _purchases(households: int, draw: np.random.Generator) -> Purchases:
    """One line for each basket, from the aisle of the household's kind."""
    start = seconds(_CALENDAR.first_fit - timedelta(days=40))
    span = _CALENDAR.end_seconds - start
    count = households * _BASKETS
    at = np.sort(start + draw.integers(0, span, count))
    household = draw.permutation(np.repeat(np.arange(households, dtype=np.int32), _BASKETS))
    interest = (household % 3 * _AISLE + draw.integers(0, _AISLE, count)).astype(np.int32)
    return Purchases(household, np.arange(count, dtype=np.int32), interest, interest, at)


def _snapshot(purchases: Purchases, households: int, labels: int, now: int) -> Snapshot:
    history = np.zeros((households, labels, len(HISTORY_FEATURES)), dtype=np.float16)
    history[..., HISTORY_FEATURES.index("days_since_purchase")] = NEVER_DAYS
    user = np.ones((households, len(USER_FEATURES)), dtype=np.float32)
    texts = np.full((households, PLACES), -1, dtype=np.int32)
    occurred = np.zeros((households, PLACES), dtype=np.int64)
    for row in range(households):
        lines = np.flatnonzero((purchases.household == row) & (purchases.at_seconds < now))
        bought, at = purchases.interest[lines], purchases.at_seconds[lines]
        np.add.at(history[row, :, HISTORY_FEATURES.index("purchases")], bought, 1)
        history[row, bought, HISTORY_FEATURES.index("days_since_purchase")] = (now - at) / DAY_SECONDS
        last = lines[-PLACES:]
        texts[row, : len(last)] = purchases.text[last]
        occurred[row, : len(last)] = purchases.at_seconds[last] * 1000
    nothing = np.zeros(households, dtype=np.int32)
    kinds = np.zeros((households, PLACES), dtype=np.uint8)
    return Snapshot(history, user, texts, kinds, occurred, nothing, nothing)
