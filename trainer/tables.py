"""What all shoppers share, frozen with the model version: popularity, rates, neighbours, projections.

Computed from the households that may be fitted and from purchases before one day, and never from live counts: the
worker knows one user at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.dates import DAY_SECONDS, HORIZON_DAYS, RECENT_DAYS, seconds
from trainer.samples import Purchases, bought_between

Matrix = NDArray[np.float32]

_EASE_RIDGE: Final = 300.0
_NEIGHBOUR_SHRINKAGE: Final = 50.0
_LAG_SHRINKAGE: Final = 20.0
_SVD_RANK: Final = 24
#: Keeps the logarithm of a rate finite: about one buyer in a thousand.
_RATE_FLOOR: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Tables:
    """Arrays over L interests; matrices are [L, L], from the interest a user knows (row) to the one asked for."""

    #: Log of the share of households that bought within 28 and 84 days, and of those newly buying, [L, 5].
    rates: Matrix
    neighbours: Matrix
    ease: Matrix
    #: Bought next month after this month.
    follows: Matrix
    svd_mean: Matrix
    svd_basis: Matrix
    #: Department of each interest, one-hot [L, departments].
    departments: Matrix
    #: Share of each department in all purchases, [departments].
    department_share: Matrix
    #: How telling an interest is in a profile: log of households over its buyers, [L].
    rarity: Matrix

    def arrays(self) -> dict[str, Matrix]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


RATE_FEATURES: Final = ("rate_28d", "rate_84d", "new_rate", "first_rate", "mean_rate")


def freeze_tables(purchases: Purchases, fitted: NDArray[np.bool_], departments: Matrix, day: date) -> Tables:
    """The tables as of the midnight that begins ``day``.

    Args:
        purchases: Of all households; later ones are left out.
        fitted: Which households may be learnt from, [N].
        departments: Each interest's department, one-hot [L, departments].
        day: The tables know nothing of it.
    """
    shape = len(fitted), len(departments)
    now = seconds(day)
    events = _category_events(purchases, now)
    half_year = np.log1p(_decayed(events, now, 224.0, shape)[fitted])
    counts = np.log1p(_decayed(events, now, np.inf, shape)[fitted])
    bought = counts > 0
    mean = half_year.mean(axis=0)
    basis = np.linalg.svd(half_year - mean, full_matrices=False)[2][:_SVD_RANK]
    per_department = _decayed(events, now, 56.0, shape)[fitted].sum(axis=0) @ departments
    return Tables(
        rates=_rates(purchases, now, shape, fitted),
        neighbours=item_neighbours(bought.astype(np.float64)).astype(np.float32),
        ease=_ease(counts).astype(np.float32),
        follows=_follows(purchases, now, shape, fitted).astype(np.float32),
        svd_mean=mean.astype(np.float32),
        svd_basis=basis.astype(np.float32),
        departments=departments,
        department_share=(per_department / per_department.sum()).astype(np.float32),
        rarity=np.log(fitted.sum() / (1.0 + bought.sum(axis=0))).clip(0.0).astype(np.float32),
    )


def department_of(purchases: Purchases, texts: Sequence[str], labels: int) -> Matrix:
    """Each interest's department, one-hot [L, departments]: the last part of any of its texts."""
    text_of = dict(zip(purchases.interest.tolist(), purchases.text.tolist(), strict=True))
    names = [texts[text_of[row]].rpartition(", ")[2] for row in range(labels)]
    order = sorted(set(names))
    return np.array([[name == department for department in order] for name in names], dtype=np.float32)


def _category_events(purchases: Purchases, before: int) -> tuple[NDArray[np.int64], ...]:
    """Household, interest and time of each basket's interests, once per basket."""
    known = (purchases.at_seconds < before) & (purchases.interest >= 0)
    keys = np.stack([purchases.basket[known], purchases.interest[known]]).astype(np.int64)
    _, rows = np.unique(keys, axis=1, return_index=True)
    chosen = np.flatnonzero(known)[rows]
    return (
        purchases.household[chosen].astype(np.int64),
        purchases.interest[chosen].astype(np.int64),
        purchases.at_seconds[chosen],
    )


def _decayed(
    events: tuple[NDArray[np.int64], ...], now: int, half_life_days: float, shape: tuple[int, int]
) -> NDArray[np.float64]:
    household, interest, at = events
    weights = np.exp2(-(now - at) / DAY_SECONDS / half_life_days)
    flat = np.bincount(household * shape[1] + interest, weights, minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), dtype=np.float64)


def _rates(
    purchases: Purchases, now: int, shape: tuple[int, int], fitted: NDArray[np.bool_]
) -> NDArray[np.float32]:
    def bought(start_days: int, end_days: int) -> NDArray[np.bool_]:
        span = now - start_days * DAY_SECONDS, now - end_days * DAY_SECONDS
        return bought_between(purchases, *span, shape)[fitted]

    month, quarter = bought(28, 0), bought(84, 0)
    known = bought(28 + RECENT_DAYS, 28)
    ever = bought_between(purchases, 0, now - 28 * DAY_SECONDS, shape)[fitted]
    months = max((now - int(purchases.at_seconds[0])) // (HORIZON_DAYS * DAY_SECONDS), 1)
    every_month = [bought(28 * (month_ago + 1), 28 * month_ago).mean(axis=0) for month_ago in range(months)]
    columns = (
        month.mean(axis=0),
        quarter.mean(axis=0),
        (month & ~known).sum(axis=0) / np.maximum((~known).sum(axis=0), 1),
        (month & ~ever).sum(axis=0) / np.maximum((~ever).sum(axis=0), 1),
        np.mean(every_month, axis=0),
    )
    return np.log(np.stack(columns, axis=1) + _RATE_FLOOR).astype(np.float32)


def item_neighbours(bought: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of co-purchase of L items by those who bought them, 0 or 1 [n, L], shrunk where there are few buyers: [L, L]."""
    together = bought.T @ bought
    buyers = np.diag(together).copy()
    similarity = together / (np.sqrt(np.outer(buyers, buyers)) + _NEIGHBOUR_SHRINKAGE)
    np.fill_diagonal(similarity, 0.0)
    return np.asarray(similarity)


def _ease(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Source: Steck 2019, Embarrassingly Shallow Autoencoders."""
    inverse = np.linalg.inv(counts.T @ counts + _EASE_RIDGE * np.eye(counts.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _follows(
    purchases: Purchases, now: int, shape: tuple[int, int], fitted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share of households buying the column within 28 days after buying the row within 56."""
    pairs = np.zeros((shape[1], shape[1]))
    base = np.zeros(shape[1])
    anchor = now - HORIZON_DAYS * DAY_SECONDS
    while anchor - RECENT_DAYS * DAY_SECONDS >= int(purchases.at_seconds[0]) - DAY_SECONDS:
        before = bought_between(purchases, anchor - RECENT_DAYS * DAY_SECONDS, anchor, shape)[fitted]
        after = bought_between(purchases, anchor, anchor + HORIZON_DAYS * DAY_SECONDS, shape)[fitted]
        pairs += before.T.astype(np.float64) @ after
        base += before.sum(axis=0)
        anchor -= HORIZON_DAYS * DAY_SECONDS
    return np.asarray(pairs / (base[:, None] + _LAG_SHRINKAGE))
