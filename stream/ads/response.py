"""How likely a user is to answer an ad: five features and a logistic model over them.

This exists once: the trainer fits the weights on these features, the worker predicts with them.

Shapes: n creatives, L interests of the label set, D dimensions of the encoder, U user features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.errors import ModelRepositoryError
from stream.features import USER_FEATURES

Floats = NDArray[np.float32]

RESPONSE_FEATURES: Final = (
    "interest_logit",
    "similarity",
    "log_response_rate",
    "log_orders_56d",
    "log_products",
)
_ORDERS_56D: Final = USER_FEATURES.index("decayed_orders_56d")
#: What is believed of a user before any ad: so many answers to so many impressions. Counts alone grow with the number
#: of campaigns, and a weight fitted on few of them promises too much later.
_PRIOR_CLICKS: Final = 0.5
_PRIOR_IMPRESSIONS: Final = 50.0
#: Keeps the logit of a score within ±13.8.
_EPSILON: Final = 1e-6
#: Far beyond any fitted answer, and exp stays finite in float32.
_MAX_LOGIT: Final = 30.0


class CreativeArrays(NamedTuple):
    """What is known of n creatives, one row each.

    ``interest_weights`` [n, L] says which interests a creative is about: rows are >= 0 and sum to 1.
    ``vectors`` [n, D] are the unit vectors of the creatives' texts, zero where a text is not encoded yet.
    ``products`` [n] counts the products that each creative is good for.
    """

    interest_weights: Floats
    vectors: Floats
    products: Floats


def response_features(
    scores: Floats,
    user_vector: Floats,
    user_features: Floats,
    clicks: int,
    impressions: int,
    creatives: CreativeArrays,
) -> Floats:
    """One user against every creative, [n, 5] in the order of ``RESPONSE_FEATURES``.

    Args:
        scores: Calibrated interest scores, [L].
        user_vector: Unit length, or zero if no model gave one, [D].
        user_features: As ``stream.features.user_features`` gives them, [U].
        clicks: Ads that the user answered before.
        impressions: Ads that the user was shown before.
        creatives: The creatives to compare with.
    """
    features = np.empty((len(creatives.products), len(RESPONSE_FEATURES)), dtype=np.float32)
    interest = np.clip(creatives.interest_weights @ scores, _EPSILON, 1.0 - _EPSILON)
    features[:, 0] = np.log(interest / (1.0 - interest))
    features[:, 1] = creatives.vectors @ user_vector
    features[:, 2] = np.log((clicks + _PRIOR_CLICKS) / (impressions + _PRIOR_IMPRESSIONS))
    features[:, 3] = np.log1p(user_features[_ORDERS_56D])
    features[:, 4] = np.log1p(creatives.products)
    return features


class ResponseModel:
    """Logistic regression over raw ``RESPONSE_FEATURES``; a scaling of the fit is already inside the weights."""

    __slots__ = ("bias", "weights")

    def __init__(self, weights: Sequence[float] | Floats, bias: float) -> None:
        self.weights: Floats = np.asarray(weights, dtype=np.float32)
        self.bias = float(bias)
        if self.weights.shape != (len(RESPONSE_FEATURES),):
            raise ModelRepositoryError(
                f"the ad response model has weights of shape {self.weights.shape}, this release needs "
                f"({len(RESPONSE_FEATURES)},): one per feature of {list(RESPONSE_FEATURES)}"
            )
        if not (np.isfinite(self.weights).all() and np.isfinite(self.bias)):
            raise ModelRepositoryError(
                f"the ad response model has weights {self.weights.tolist()} and bias {self.bias}, which are not "
                "all finite: train it again"
            )

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """The model in a manifest's section ``ad_response``.

        Raises:
            ModelRepositoryError: If the section is missing or was fitted on other features.
        """
        section = manifest.get("ad_response")
        if not isinstance(section, Mapping) or not {"features", "weights", "bias"} <= section.keys():
            raise ModelRepositoryError(
                "the manifest has no section ad_response with features, weights and bias: "
                "deploy a model version made by this release's trainer"
            )
        if tuple(section["features"]) != RESPONSE_FEATURES:
            raise ModelRepositoryError(
                f"the ad response model was fitted on {list(section['features'])}, this release computes "
                f"{list(RESPONSE_FEATURES)}: deploy the model version that belongs to it"
            )
        return cls(section["weights"], section["bias"])

    def manifest_section(self) -> dict[str, Any]:
        """What :meth:`from_manifest` reads, for the trainer to put under ``ad_response``."""
        return {"features": list(RESPONSE_FEATURES), "weights": self.weights.tolist(), "bias": self.bias}

    def predict(self, features: Floats) -> Floats:
        """Probability that the user answers, [n], for features [n, 5]."""
        logits = np.clip(features @ self.weights + self.bias, -_MAX_LOGIT, _MAX_LOGIT)
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float32)
