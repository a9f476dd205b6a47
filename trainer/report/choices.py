"""The head as a yes or no: the threshold, scikit-learn's classification report per interest, and how true its odds are."""

from typing import Any, Final

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import classification_report, precision_recall_curve

from trainer.contract import INTENT_DAYS
from trainer.evaluate import MODEL
from trainer.report.scored import Scored, pooled

_BINS: Final = 15
#: Purchase intent has one row per household and cutoff.
_INTENT_BINS: Final = 5


def best_threshold(scored: Scored) -> float:
    """The score from which on a yes gives the best micro F1 over all interests.

    Args:
        scored: Of the validation month; on the test rows the choice would be part of what is measured.
    """
    said, bought = pooled(scored.asked("all"), scored.scores[MODEL])
    precision, recall, thresholds = precision_recall_curve(bought, said)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[f1[:-1].argmax()])


def classified(scored: Scored, threshold: float, names: list[str]) -> dict[str, Any]:
    """scikit-learn's ``classification_report`` of *all* per interest, and its averages, over active households.

    Each interest also has its mean score (``said``) and the share that bought it (``happened``); ``mean_gap`` is the mean over
    interests of how far the two are apart.

    Args:
        scored: The rows.
        threshold: From :func:`best_threshold`.
        names: Of the interests.
    """
    active = [split.inputs.active for split in scored.splits]
    said = np.concatenate([given[rows] for given, rows in zip(scored.scores[MODEL], active, strict=True)])
    bought = np.concatenate(
        [split.inputs.bought.numpy()[rows] for split, rows in zip(scored.splits, active, strict=True)]
    )
    told: dict[str, Any] = classification_report(
        bought, said >= threshold, target_names=names, output_dict=True, zero_division=0
    )
    averages = {name: row for name, row in told.items() if name not in set(names)}
    odds = zip(names, said.mean(axis=0), bought.mean(axis=0), strict=True)
    interests = {name: {**told[name], "said": float(s), "happened": float(h)} for name, s, h in odds}
    gaps = [abs(row["said"] - row["happened"]) for row in interests.values()]
    return {
        "threshold": threshold,
        "averages": averages,
        "interests": interests,
        "mean_gap": float(np.mean(gaps)),
    }


def reliability(scored: Scored) -> dict[str, list[dict[str, float]]]:
    """By variant and by days of purchase intent: mean score and share that came true in bins of equal count."""
    found = {}
    for variant in ("all", "novel8", "never"):
        found[variant] = _points(*pooled(scored.asked(variant), scored.scores[MODEL]), _BINS)
    active = [split.inputs.active for split in scored.splits]
    happened = [split.inputs.intent.numpy()[rows] for split, rows in zip(scored.splits, active, strict=True)]
    said = [given[rows] for given, rows in zip(scored.intent, active, strict=True)]
    for column, days in enumerate(INTENT_DAYS):
        outcomes = np.concatenate(happened)[:, column]
        found[f"intent_{days}d"] = _points(np.concatenate(said)[:, column], outcomes, _INTENT_BINS)
    return found


def _points(said: Any, bought: Any, bins: int) -> list[dict[str, float]]:
    true, mean = calibration_curve(bought, said, n_bins=bins, strategy="quantile")
    return [{"said": float(s), "happened": float(h)} for s, h in zip(mean, true, strict=True)]
