"""Figures of parts of an evaluation: by cutoff, by how much is known of a household, by how well known an interest is."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.features import HISTORY_FEATURES
from trainer.evaluate import GBDT, MODEL, Scores
from trainer.pooling import Asked, measure, ndcg_interval
from trainer.ranking import Flags, auc, auc_by_interest, rank
from trainer.report.scored import Scored, among, pooled

_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
#: Upper bounds of the categories that a household bought before, counted once per order; the last has none.
_HISTORY_BOUNDS: Final = (25, 100, 300)
#: Upper bounds of the share of the learnt-from households that ever bought an interest.
_BUYER_BOUNDS: Final = (0.05, 0.15, 0.4)

Figures = dict[str, Any]


def by_cutoff(scored: Scored) -> Figures:
    """{variant: {day: {model: figures}}}."""
    found: Figures = {}
    for variant in ("all", "novel8", "never"):
        cutoffs = scored.asked(variant)
        found[variant] = {
            split.day.isoformat(): {
                name: measure([cutoff], [given[number]], probabilities=name != "popularity")
                for name, given in scored.shown().items()
            }
            for number, (split, cutoff) in enumerate(zip(scored.splits, cutoffs, strict=True))
        }
    return found


def by_history(scored: Scored) -> list[Figures]:
    """NDCG@10 and AUC of *all* for households by what they bought before, the least first."""
    bought = [split.inputs.history[..., _PURCHASES].sum(dim=1).numpy() for split in scored.splits]
    cutoffs = scored.asked("all")
    return [
        {"group": name, **_household_figures(scored.shown(), among(cutoffs, masks.__getitem__))}
        for name, masks in _bands(bought, _HISTORY_BOUNDS, "purchases")
    ]


def by_buyers(scored: Scored) -> list[Figures]:
    """Macro AUC of *all* for interests by the share of households that ever bought them, the coldest first.

    An interest counts in a cutoff where it has at least 10 buyers and 10 others (``trainer.ranking``).
    """
    shares = [np.exp(-split.tables.rarity) for split in scored.splits]
    cutoffs = scored.asked("all")
    by_model = {
        name: [auc_by_interest(given, cutoff.question) for given, cutoff in zip(scores, cutoffs, strict=True)]
        for name, scores in scored.shown().items()
    }
    return [
        {"group": name, "interests": int(masks[0].sum()), **_interest_figures(by_model, masks)}
        for name, masks in _bands(shares, _BUYER_BOUNDS, "of the households")
    ]


def _bands(
    values: Sequence[NDArray[Any]], bounds: Sequence[float], unit: str
) -> list[tuple[str, list[Flags]]]:
    """Names of the bands between bounds, and who is in them at each cutoff; empty ones are left out."""
    edges = [-np.inf, *bounds, np.inf]
    found = []
    for low, high in pairwise(edges):
        masks = [np.asarray((value > low) & (value <= high)) for value in values]
        if any(mask.any() for mask in masks):
            found.append((_band_name(low, high, unit), masks))
    return found


def _band_name(low: float, high: float, unit: str) -> str:
    if low == -np.inf:
        return f"up to {high:g} {unit}"
    return f"over {low:g} {unit}" if high == np.inf else f"over {low:g} to {high:g} {unit}"


def _household_figures(models: Mapping[str, Sequence[Scores]], cutoffs: Sequence[Asked]) -> Figures:
    active = np.concatenate([cutoff.households[cutoff.question.active] for cutoff in cutoffs])
    found: Figures = {
        "households": len(np.unique(active)),
        "models": {name: ranked(cutoffs, scores) for name, scores in models.items()},
    }
    if found["models"][MODEL]["ndcg10"] is not None and GBDT in models:
        found["model_minus_gbdt_ci"] = ndcg_interval(models[MODEL], models[GBDT], cutoffs)
    return found


def ranked(cutoffs: Sequence[Asked], scores: Sequence[Scores]) -> dict[str, float | None]:
    """NDCG@10 and micro AUC over the rows of all cutoffs; None where nobody is to be ranked."""
    ndcg = [rank(given, cutoff.question).ndcg for given, cutoff in zip(scores, cutoffs, strict=True)]
    said, bought = pooled(cutoffs, scores)
    some = bool(bought.any() and not bought.all())
    return {
        "ndcg10": float(np.concatenate(ndcg).mean()) if some else None,
        "micro_auc": auc(said, bought) if some else None,
    }


def _interest_figures(
    by_model: Mapping[str, Sequence[NDArray[np.float64]]], masks: Sequence[Flags]
) -> Figures:
    found: Figures = {"models": {}}
    for name, aucs in by_model.items():
        known = [values[mask & ~np.isnan(values)] for values, mask in zip(aucs, masks, strict=True)]
        means = [values.mean() for values in known if len(values)]
        found["measured"] = max(len(values) for values in known)
        found["models"][name] = {"macro_auc": float(np.mean(means)) if means else None}
    return found
