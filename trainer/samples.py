"""The samples on disk: what was known of every household at each cutoff, and what it did afterwards.

A household is one user of the shop, named as in the Complete Journey.

Shapes: N households, L interests, H history features, U user features, W window places, C campaigns.
Window places hold text rows; they become vectors once an encoder exists.
"""

import json
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.held_out import is_held_out
from stream.model.images import ImageCatalogue, read_images
from stream.render import text_and_image
from trainer.calendar import Calendar
from trainer.contract import INTENT_DAYS
from trainer.dates import DAY_SECONDS, HORIZON_DAYS, seconds
from trainer.errors import TrainerError
from trainer.interests import LabelSet

#: Of ``samples.json``; raised when what the files hold changes.
_VERSION: Final = 2


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

    def of(self, rows: NDArray[np.bool_]) -> "Purchases":
        """The same of some of the lines."""
        household, basket, interest, text, at_seconds = self
        return Purchases(household[rows], basket[rows], interest[rows], text[rows], at_seconds[rows])


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
    #: Where each stood, as the impressions say (``index`` of their item); -1 where they don't.
    positions: NDArray[np.int64]  # [n, coupons]


class Samples:
    """The samples directory, read back piece by piece.

    Args:
        directory: Where they lie.
        fit_share: Learn from no more than this share of the households that may be learnt from, 0 to 1; a smaller share is
            part of a larger one.

    Raises:
        TrainerError: If an earlier release wrote it.
    """

    def __init__(self, directory: Path, fit_share: float = 1.0) -> None:
        self.directory = directory
        described = json.loads((directory / "samples.json").read_text(encoding="utf-8"))
        if described.get("version") != _VERSION:
            raise TrainerError(f"the samples in {directory} are of another release: make them again")
        self.labels = LabelSet(described["categories"], described["taxonomy"], described["interest_level"])
        #: User ids in row order.
        self.households: list[str] = described["households"]
        self.held_out = np.array([is_held_out(household) for household in self.households])
        #: What may be learnt from.
        drawn = np.array([_draw(household) for household in self.households])
        self.fitted: NDArray[np.bool_] = ~self.held_out & (drawn < fit_share)
        #: Of each text row, as windows refer to it; two may have one text.
        self.appearances: list[str] = described["texts"]
        parts = [text_and_image(appeared) for appeared in self.appearances]
        self.texts = [text for text, _ in parts]
        #: Empty where no event named an image.
        self.image_ids = [image_id for _, image_id in parts]
        self.calendar = Calendar.of(described["calendar"])
        self.data: dict[str, Any] = described["data"]
        #: Campaigns with their creatives, and the ids of those that were mailed.
        self.campaigns: list[dict[str, Any]] = described["campaigns"]
        self.mailed: list[str] = described["mailed"]

    @property
    def shape(self) -> tuple[int, int]:
        """N, L."""
        return len(self.households), len(self.labels)

    def images(self) -> ImageCatalogue | None:
        """The images that the events name, as far as the catalogue had them; None if the samples were made without one."""
        path = images_path(self.directory)
        return read_images(path) if path.exists() else None

    def purchases(self, received_before: int | None = None) -> Purchases:
        """All purchases up to the end of the test labels, or those that were known at a second (UTC epoch)."""
        with np.load(purchases_path(self.directory)) as arrays:
            purchases = Purchases(*(arrays[name] for name in Purchases._fields))
            if received_before is None:
                return purchases
            known = arrays["received_seconds"] < received_before
        return purchases.of(known)

    def fit_purchases(self, day: date) -> Purchases:
        """What was known when a day began of the households that may be learnt from."""
        return self._known(day, self.fitted)

    def catalogue(self) -> Purchases:
        """Purchases that say what belongs to which category: those known at validation, whatever the share."""
        return self._known(self.calendar.validation, ~self.held_out)

    def _known(self, day: date, whose: NDArray[np.bool_]) -> Purchases:
        purchases = self.purchases(received_before=seconds(day))
        return purchases.of(whose[purchases.household])

    def snapshot(self, day: date) -> Snapshot:
        """All households at a cutoff."""
        with np.load(cutoff_path(self.directory, day)) as arrays:
            return Snapshot(**arrays)

    def mailing(self, cid: str) -> Mailing:
        """One campaign of those in ``mailed``."""
        with np.load(mailing_path(self.directory, cid)) as arrays:
            redeemed = arrays["redeemed"]
            nowhere = np.full(redeemed.shape, -1, dtype=np.int64)  # as samples without positions were written
            return Mailing(
                cid=cid,
                at_ms=int(arrays["at_ms"]),
                households=arrays["households"],
                snapshot=Snapshot(**{name: arrays[name] for name in Snapshot._fields}),
                crids=[str(crid) for crid in arrays["crids"]],
                redeemed=redeemed,
                positions=arrays.get("positions", nowhere),
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


def write_description(directory: Path, described: dict[str, Any]) -> None:
    """Write ``samples.json``, the last file of a samples directory."""
    document = json.dumps({"version": _VERSION, **described})
    (directory / "samples.json").write_text(document, encoding="utf-8")


def purchases_path(directory: Path) -> Path:
    """Where the purchases lie."""
    return directory / "purchases.npz"


def cutoff_path(directory: Path, day: date) -> Path:
    """Where a cutoff's snapshot lies."""
    return directory / f"cutoff-{day.isoformat()}.npz"


def mailing_path(directory: Path, cid: str) -> Path:
    """Where a campaign's mailing lies."""
    return directory / f"mailing-{cid}.npz"


def images_path(directory: Path) -> Path:
    """Where the vectors of images lie, if there are any."""
    return directory / "images.npz"


def drawn_users(users: list[str], most: int | None) -> list[str]:
    """At most so many of the users, in their order; fewer of them are part of more."""
    if most is None or len(users) <= most:
        return users
    kept = set(sorted(users, key=lambda user: (_draw(user), user))[:most])
    return [user for user in users if user in kept]


def _draw(household: str) -> float:
    """A number from 0 to 1 that has nothing to do with whether the household is held out."""
    return int(sha256(f"share:{household}".encode()).hexdigest()[:12], 16) / 16**12
