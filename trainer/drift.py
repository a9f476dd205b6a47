"""Whether the newest events differ so much from what a version was trained on that training again is worth it.

Distributions are compared by the population stability index over the deciles of the training. Its usual reading: below .1
nothing happened, above .25 the population is another one.
Source: Siddiqi, Credit Risk Scorecards (2006), chapter on monitoring.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.dates import DAY_SECONDS, HORIZON_DAYS, seconds
from trainer.drift_reference import (
    FEATURE_NAMES,
    DriftReference,
    between,
    bin_shares,
    feature_values,
    interest_shares,
    share_of,
    text_hashes,
)
from trainer.errors import TrainerError
from trainer.samples import Purchases, Samples

#: How long the record of a user is grows with the shop's own record, whatever the users do.
_GROWING: Final = frozenset({"user.days_since_first_seen"})
#: A share of nothing has no logarithm.
_LEAST_SHARE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """What may be before training again is worth it.

    Attributes:
        feature_psi: Of the feature that moved most, apart from how long users are known.
        interest_psi: Of the interests' shares in the purchases.
        unseen_products: Share of purchase lines whose product was never bought before.
        unseen_categories: By how much the share of purchase lines grew that belong to no interest of the version.
        calibration: Expected calibration error on the newest labels.
        age_days: Since the labels end that the version learnt from.
    """

    feature_psi: float = 0.25
    interest_psi: float = 0.1
    unseen_products: float = 0.1
    unseen_categories: float = 0.02
    calibration: float = 0.01
    age_days: float = 91.0


class Finding(NamedTuple):
    """One figure and the limit that it may reach."""

    name: str
    figure: float
    limit: float

    @property
    def kept(self) -> bool:
        """Whether the limit is."""
        return self.figure <= self.limit


class Newest(NamedTuple):
    """The newest events."""

    samples: Samples
    #: Users as they were when this day began; what they bought in the 28 days from it is known.
    day: date
    #: Categories that the version has an interest for.
    categories: frozenset[str]


def parse_limits(given: list[str]) -> DriftLimits:
    """Limits of ``NAME=NUMBER`` each, the usual ones for the others.

    Raises:
        TrainerError: If a name is no limit's, or a number none.
    """
    names = [field.name for field in fields(DriftLimits)]
    limits = DriftLimits()
    for one in given:
        name, _, number = one.partition("=")
        try:
            limits = replace(limits, **{name: float(number)})
        except (TypeError, ValueError) as error:
            raise TrainerError(
                f"{one!r} sets no limit: write NAME=NUMBER, with one of {', '.join(names)}"
            ) from error
    return limits


def measure_drift(
    reference: DriftReference, newest: Newest, limits: DriftLimits, calibration: Mapping[str, float] | None
) -> dict[str, Any]:
    """Figures, findings and whether training again is worth it.

    Args:
        reference: What the version was trained on.
        newest: What it is held against.
        limits: What may be.
        calibration: Figures of the version's scores on the newest labels, ``ece`` among them; None if its interests are
            not those of the samples.
    """
    samples, day = newest.samples, newest.day
    values = feature_values(samples, day)
    moved = {
        name: stability_index(shares, bin_shares(column, edges))
        for name, column, edges, shares in zip(
            FEATURE_NAMES, values, reference.edges, reference.shares, strict=True
        )
    }
    start = seconds(day)
    everything = samples.purchases()
    fitted = everything.of(samples.fitted[everything.household])
    month = between(fitted, start, start + HORIZON_DAYS * DAY_SECONDS)
    figures = {
        "feature_psi": max(value for name, value in moved.items() if name not in _GROWING),
        "unseen_products": _unseen_products(samples, month, reference.texts),
        "unseen_categories": _unserved(samples, month, newest.categories) - reference.unserved,
        "age_days": float((day - reference.day).days + HORIZON_DAYS),
    }
    if calibration is not None:
        shares = interest_shares(month, len(samples.labels))
        figures["interest_psi"] = stability_index(reference.interests, shares)
        figures["calibration"] = calibration["ece"]
    findings = [
        Finding(name, figures[name], limit) for name, limit in asdict(limits).items() if name in figures
    ]
    return {
        "trained_until": reference.day.isoformat(),
        "newest": {"users_at": day.isoformat(), "purchase_lines": len(month.household)},
        "features": moved,
        "calibration": calibration,
        "findings": [{**finding._asdict(), "kept": finding.kept} for finding in findings],
        "retrain": not all(finding.kept for finding in findings),
    }


def stability_index(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Population stability index of two lists of shares; 0 if they are the same."""
    before, now = (np.maximum(shares.astype(np.float64), _LEAST_SHARE) for shares in (expected, found))
    return float(((now - before) * np.log(now / before)).sum())


def drift_report(found: Mapping[str, Any]) -> Iterator[str]:
    """Lines of a page about what :func:`measure_drift` found."""
    worth = "is worth it" if found["retrain"] else "is not worth it"
    yield f"# Drift since version {found['version']}: training again {worth}"
    yield ""
    yield (
        f"Trained on labels until {found['trained_until']}; held against users of {found['newest']['users_at']} and their "
        f"{found['newest']['purchase_lines']} purchase lines of the 28 days from then."
    )
    yield from ("", "| finding | figure | limit | |", "|---|---|---|---|")
    for finding in found["findings"]:
        kept = "kept" if finding["kept"] else "**broken**"
        yield f"| {finding['name']} | {finding['figure']:.4f} | {finding['limit']:g} | {kept} |"
    yield from ("", "| feature | population stability index |", "|---|---|")
    for name, value in sorted(found["features"].items(), key=lambda pair: -pair[1]):
        yield f"| {name} | {value:.3f} |"


def _unseen_products(samples: Samples, month: Purchases, known: NDArray[np.uint32]) -> float:
    hashes = text_hashes([samples.texts[row] for row in np.unique(month.text)])
    unseen = np.unique(month.text)[~np.isin(hashes, known)]
    return share_of(np.isin(month.text, unseen))


def _unserved(samples: Samples, month: Purchases, categories: frozenset[str]) -> float:
    without = np.array([name not in categories for name in samples.labels.names] + [True])
    return share_of(without[month.interest])  # row -1, no interest at all, is the last
