import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.ads.response import RESPONSE_FEATURES, ResponseModel
from trainer.ads import _bounded_logistic, assumed_response

pytestmark = pytest.mark.trainer


def test_the_fit_finds_the_weights_that_made_the_outcomes() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(20_000, len(RESPONSE_FEATURES))).astype(np.float32)
    wanted = np.array([1.0, 0.5, 0.3, -0.4, 0.2, 0.0])
    outcomes = draw.random(20_000) < 1 / (1 + np.exp(2.0 - features @ wanted))

    weights, bias = _bounded_logistic(features, outcomes)

    np.testing.assert_allclose(weights, wanted, atol=0.08)
    assert bias == pytest.approx(-2.0, abs=0.1)


def test_a_sign_of_interest_never_counts_against_a_creative() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(5_000, len(RESPONSE_FEATURES))).astype(np.float32)
    similarity = RESPONSE_FEATURES.index("similarity")
    outcomes = draw.random(5_000) < 1 / (1 + np.exp(1.0 + features[:, similarity]))

    weights, _ = _bounded_logistic(features, outcomes)

    assert weights[similarity] == 0.0


def test_without_mailings_creatives_are_ordered_by_interest_alone() -> None:
    response = ResponseModel.from_manifest({"ad_response": assumed_response()})
    features = np.zeros((3, len(RESPONSE_FEATURES)), dtype=np.float32)
    features[:, RESPONSE_FEATURES.index("interest_logit")] = [-2.0, 0.0, 1.0]
    features[:, RESPONSE_FEATURES.index("log_impressions")] = [9.0, 5.0, 0.0]

    probability = response.predict(features)

    assert probability[1] == pytest.approx(0.01, abs=1e-4)
    assert np.all(np.diff(probability) > 0)
