"""The ad response model: weights for the stream's own response features, fitted on redeemed coupons.

Redeeming is stronger and rarer than a click: the weights order creatives, they don't state a click rate. Campaigns of
types B and C only, because every recipient got all their coupons.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score, log_loss

from stream.ads.campaign import Creative
from stream.ads.response import RESPONSE_FEATURES, CreativeArrays, ResponseModel, response_features
from stream.ads.snapshot import InterestRows, creative_text, interest_weights
from trainer.dates import AD_TEST, seconds
from trainer.evaluate import ask_head
from trainer.head_inputs import Inputs, pooled_windows
from trainer.parity import OnnxModel
from trainer.position_bias import PositionBias
from trainer.ranking import auc
from trainer.samples import Mailing, Samples
from trainer.tables import Matrix

Encode = Callable[[Sequence[str]], Matrix]

_RIDGE: Final = 1.0
#: One response in a hundred at even odds of interest, of the order of what advertisers see.
_ASSUMED_BIAS: Final = -4.6
#: Signs of interest: their weights are not let below zero.
_NEVER_AGAINST: Final = ("interest_logit", "similarity", "log_response_rate")


class ResponseRows(NamedTuple):
    """One row per coupon sent to a household."""

    features: NDArray[np.float32]  # [n, 5]
    redeemed: NDArray[np.bool_]  # [n]
    household: NDArray[np.int64]  # [n]
    is_test: NDArray[np.bool_]  # [n]
    position: NDArray[np.int64]  # [n], ``position_bias.UNKNOWN`` where there is none


def response_rows(
    samples: Samples, head: OnnxModel, encode: Encode, names: Matrix, text_vectors: Matrix
) -> ResponseRows:
    """All coupons sent, with the features that the worker would have had.

    Args:
        samples: With the mailings.
        head: The exported head.
        encode: Texts to unit vectors, for the creatives.
        names: Interest vectors [L, D].
        text_vectors: Of the samples' texts, for the windows.
    """
    interests = InterestRows(samples.labels.row_by_category, names)
    arrays = _creatives(samples.campaigns, interests, encode)
    parts = [_mailing_rows(samples.mailing(cid), arrays[cid], head, text_vectors) for cid in samples.mailed]
    return ResponseRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def assumed_response() -> dict[str, Any]:
    """The section ``ad_response`` of data that has no mailings: creatives in the order of interest alone.

    Nothing of it is measured; until impressions are recorded it keeps bids comparable between creatives.
    """
    weights = [float(name == "interest_logit") for name in RESPONSE_FEATURES]
    return {**ResponseModel(weights, _ASSUMED_BIAS).manifest_section(), "metrics": {"fit_rows": 0}}


def fit_response(samples: Samples, rows: ResponseRows) -> dict[str, Any]:
    """The manifest's section ``ad_response``, with what it was fitted to; later campaigns are not looked at."""
    fitted = ~rows.is_test & samples.fitted[rows.household]
    mean, scale = rows.features[fitted].mean(axis=0), rows.features[fitted].std(axis=0) + 1e-6
    bias = PositionBias(rows.position[fitted])
    standard = (rows.features[fitted] - mean) / scale
    design = np.concatenate([standard, bias.columns(rows.position[fitted])], axis=1)
    slopes, offset = _bounded_logistic(design, rows.redeemed[fitted])
    own, effects = slopes[: len(RESPONSE_FEATURES)], slopes[len(RESPONSE_FEATURES) :]
    # The scaling goes into the weights: the worker has raw features. Effects of positions stay behind.
    weights = (own / scale).astype(np.float32)
    response = ResponseModel(weights, float(offset - weights @ mean))
    return {
        **response.manifest_section(),
        "metrics": {
            "fit_rows": int(fitted.sum()),
            "fit_redeemed": int(rows.redeemed[fitted].sum()),
            "fit_rate": float(rows.redeemed[fitted].mean()),
            "position_effects": dict(zip(bias.names, effects.tolist(), strict=True)),
        },
    }


def measured_response(
    samples: Samples, rows: ResponseRows, section: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """How well a section ``ad_response`` does on later campaigns: of all households, and of those held out."""
    probability = ResponseModel.from_manifest({"ad_response": section}).predict(rows.features)
    fit_rate = section["metrics"]["fit_rate"]
    held_out = samples.held_out[rows.household]
    return {
        "test": _metrics(probability, rows, rows.is_test, fit_rate),
        "test_held_out": _metrics(probability, rows, rows.is_test & held_out, fit_rate),
    }


def _bounded_logistic(
    features: NDArray[np.float32], outcomes: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Weights [F] and bias of a ridge logistic regression in which no sign of interest counts against a creative.

    Columns beyond ``RESPONSE_FEATURES`` are free.

    With a hundred redemptions a free fit gives alike features opposite signs: the better a creative fits the user,
    the worse it would rank by one of them.
    """
    signed = np.where(outcomes, 1.0, -1.0)
    design = np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float64)
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[-1] = 0.0

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = signed * (design @ parameters)
        wrong = -signed / (1.0 + np.exp(margins))
        value = np.logaddexp(0.0, -margins).sum() + 0.5 * (ridge * parameters**2).sum()
        return float(value), design.T @ wrong + ridge * parameters

    bounds = [(0.0 if name in _NEVER_AGAINST else None, None) for name in RESPONSE_FEATURES]
    bounds += [(None, None)] * (design.shape[1] - len(bounds))
    start = np.zeros(design.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:-1], float(found.x[-1])


def _creatives(
    campaigns: Sequence[Mapping[str, Any]], interests: InterestRows, encode: Encode
) -> dict[str, CreativeArrays]:
    """The creatives of every campaign as the worker's snapshot has them."""
    found = {}
    for campaign in campaigns:
        creatives = [
            Creative(
                crid=creative["crid"],
                title=creative["title"],
                categories=creative["categories"],
                products=creative["product_count"],
            )
            for creative in campaign["creatives"]
        ]
        vectors = encode([creative_text(creative) for creative in creatives])
        weights = interest_weights([creative.categories for creative in creatives], vectors, interests)
        products = np.array([creative.products for creative in creatives], dtype=np.float32)
        found[campaign["cid"]] = CreativeArrays(weights, vectors, products)
    return found


def _mailing_rows(
    mailing: Mailing, creatives: CreativeArrays, head: OnnxModel, text_vectors: Matrix
) -> ResponseRows:
    snapshot = mailing.snapshot
    count = len(mailing.households)
    nothing = torch.zeros((count, 0), dtype=torch.bool)
    inputs = Inputs(
        households=mailing.households,
        history=torch.from_numpy(snapshot.history).float(),
        user=torch.from_numpy(snapshot.user),
        window=torch.from_numpy(pooled_windows(snapshot, mailing.at_ms, text_vectors)),
        bought=nothing,
        intent=nothing,
        novel=nothing,
        never=nothing,
        active=np.ones(count, dtype=np.bool_),
    )
    answers = ask_head(head, inputs)
    features = [
        response_features(
            answers.scores[row],
            answers.user_vectors[row],
            snapshot.user[row],
            int(snapshot.clicks[row]),
            int(snapshot.impressions[row]),
            creatives,
        )
        for row in range(count)
    ]
    coupons = mailing.redeemed.shape[1]
    return ResponseRows(
        features=np.concatenate(features),
        redeemed=mailing.redeemed.reshape(-1),
        household=np.repeat(mailing.households, coupons),
        is_test=np.full(count * coupons, mailing.at_ms >= seconds(AD_TEST) * 1000),
        position=mailing.positions.reshape(-1),
    )


def _metrics(
    probability: NDArray[np.float32], rows: ResponseRows, chosen: NDArray[np.bool_], fit_rate: float
) -> dict[str, float]:
    """Figures of some rows; the log losses of two constants say what the model must be below.

    The rate seen in fitting is what a shop without a model would say; the rows' own rate is the best of all constants, known
    only afterwards.
    """
    redeemed = rows.redeemed[chosen]
    base_rate = float(redeemed.mean())

    def loss(said: NDArray[np.floating[Any]]) -> float:
        return float(log_loss(redeemed, said, labels=[False, True]))

    return {
        "rows": int(chosen.sum()),
        "redeemed": int(redeemed.sum()),
        "auc": auc(probability[chosen], redeemed),
        "pr_auc": float(average_precision_score(redeemed, probability[chosen])),
        "log_loss": loss(probability[chosen].astype(np.float64)),
        "constant_log_loss": loss(np.full(len(redeemed), fit_rate)),
        "base_rate_log_loss": loss(np.full(len(redeemed), base_rate)),
        "base_rate": base_rate,
        "mean_probability": float(probability[chosen].mean()),
        **{
            f"auc_{name}": auc(rows.features[chosen, column], redeemed)
            for column, name in enumerate(RESPONSE_FEATURES)
        },
    }
