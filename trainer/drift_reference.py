"""What a version was trained on, in numbers small enough to be published with it, for drift to be measured against.

Shapes: F features, B bins, L interests, n texts.
"""

from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.features import HISTORY_FEATURES, USER_FEATURES
from trainer.dates import DAY_SECONDS, HORIZON_DAYS, seconds
from trainer.errors import TrainerError
from trainer.samples import Purchases, Samples

#: Beside the head's model.onnx.
REFERENCE: Final = "drift_reference.npz"
#: One number per user, and one per user and interest that it knows.
FEATURE_NAMES: Final = (
    *(f"user.{name}" for name in USER_FEATURES),
    *(f"interest.{name}" for name in HISTORY_FEATURES),
)
_BINS: Final = 10
_FIRST_SEEN: Final = USER_FEATURES.index("days_since_first_seen")
_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
_LONGEST_WEIGHT: Final = HISTORY_FEATURES.index("decayed_weight_224d")


@dataclass(frozen=True, slots=True)
class DriftReference:
    """The users to learn from as they were when the labels that a version learnt from ended."""

    day: date
    #: Upper edges of the bins, [F, B - 1]; nan where values repeat so much that there are fewer bins.
    edges: NDArray[np.float32]
    #: Share of the values in each bin, [F, B].
    shares: NDArray[np.float32]
    #: Share of each interest in the purchases of the 28 days before, [L].
    interests: NDArray[np.float32]
    #: Share of the lines of those days that belong to no interest.
    unserved: float
    #: Hashes of the texts that were bought before, in rising order, [n].
    texts: NDArray[np.uint32]

    def save(self, path: Path) -> None:
        """Write it."""
        np.savez_compressed(
            path,
            day=np.array(self.day.isoformat()),
            edges=self.edges,
            shares=self.shares,
            interests=self.interests,
            unserved=np.array(self.unserved),
            texts=self.texts,
        )


def load_reference(path: Path) -> DriftReference:
    """What :meth:`DriftReference.save` wrote.

    Raises:
        TrainerError: If it is not there.
    """
    if not path.exists():
        raise TrainerError(
            f"{path} is missing: the version was published by an earlier release; publish one with this release "
            "(`make model`), then drift can be measured against it"
        )
    with np.load(path) as arrays:
        return DriftReference(
            date.fromisoformat(str(arrays["day"])),
            arrays["edges"],
            arrays["shares"],
            arrays["interests"],
            float(arrays["unserved"]),
            arrays["texts"],
        )


def make_reference(samples: Samples, day: date) -> DriftReference:
    """The reference of a version whose training labels end at the midnight that begins a day."""
    values = feature_values(samples, day)
    edges = np.stack([_edges(column) for column in values])
    known = samples.fit_purchases(day)
    month = between(known, seconds(day) - HORIZON_DAYS * DAY_SECONDS, seconds(day))
    rows = np.unique(known.text)
    return DriftReference(
        day=day,
        edges=edges,
        shares=np.stack([bin_shares(column, bounds) for column, bounds in zip(values, edges, strict=True)]),
        interests=interest_shares(month, len(samples.labels)),
        unserved=share_of(month.interest < 0),
        texts=np.unique(text_hashes([samples.texts[row] for row in rows])),
    )


def feature_values(samples: Samples, day: date) -> list[NDArray[np.float32]]:
    """Values by feature, in the order of ``FEATURE_NAMES``, of the users to learn from that were seen before a cutoff."""
    everyone = samples.snapshot(day)
    users = samples.fitted & (everyone.user[:, _FIRST_SEEN] > 0)
    user, history = everyone.user[users], everyone.history[users]
    known = history[(history[..., _PURCHASES] > 0) | (history[..., _LONGEST_WEIGHT] > 0)]
    return [*user.T.astype(np.float32), *known.T.astype(np.float32)]


def bin_shares(values: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of the values in each bin, [B]; a value on an edge is below it."""
    bins = np.searchsorted(edges[~np.isnan(edges)], values, side="left")
    counts = np.bincount(bins, minlength=_BINS)
    shares: NDArray[np.float32] = (counts / max(len(values), 1)).astype(np.float32)
    return shares


def interest_shares(purchases: Purchases, labels: int) -> NDArray[np.float32]:
    """Share of each interest in the lines that have one, [L]."""
    counts = np.bincount(purchases.interest[purchases.interest >= 0], minlength=labels)
    shares: NDArray[np.float32] = (counts / max(counts.sum(), 1)).astype(np.float32)
    return shares


def share_of(chosen: NDArray[np.bool_]) -> float:
    """How many are, 0 of none."""
    return float(chosen.mean()) if len(chosen) else 0.0


def between(purchases: Purchases, start_seconds: int, end_seconds: int) -> Purchases:
    """The purchases at ``start <= t < end``."""
    return purchases.of((purchases.at_seconds >= start_seconds) & (purchases.at_seconds < end_seconds))


def text_hashes(texts: list[str]) -> NDArray[np.uint32]:
    """One number per text, [n]; of a million new texts some 2 collide with one of ten thousand known ones."""
    return np.array([_hash(text) for text in texts], dtype=np.uint32)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "little")


def _edges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Deciles, each once."""
    edges: NDArray[Any] = np.full(_BINS - 1, np.nan, dtype=np.float32)
    if len(values):
        found = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]).astype(np.float32))
        edges[: len(found)] = found
    return edges
