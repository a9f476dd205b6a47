"""The features of an ad response, and the model over them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ads.response import RESPONSE_FEATURES, CreativeArrays, ResponseModel, response_features
from stream.errors import ModelRepositoryError
from stream.features import USER_FEATURES


def creatives() -> CreativeArrays:
    """Two creatives over three interests and two dimensions; the second is about nothing that is known."""
    return CreativeArrays(
        interest_weights=np.array([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]], np.float32),
        vectors=np.array([[0.6, 0.8], [0.0, 0.0]], np.float32),
        products=np.array([9.0, 0.0], np.float32),
    )


def test_features_are_the_five_named_ones_for_each_creative() -> None:
    user = np.zeros(len(USER_FEATURES), np.float32)
    user[USER_FEATURES.index("decayed_orders_56d")] = math.e - 1.0

    features = response_features(
        np.array([0.1, 0.3, 0.2], np.float32), np.array([1.0, 0.0], np.float32), user, 3, 7, creatives()
    )

    # Both see a mean score of 0.2: logit ln(0.2 / 0.8).
    expected = [
        [math.log(0.25), 0.6, math.log(3.5 / 57.0), 1.0, math.log(10.0)],
        [math.log(0.25), 0.0, math.log(3.5 / 57.0), 1.0, 0.0],
    ]
    assert RESPONSE_FEATURES[:2] == ("interest_logit", "similarity")
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    assert features.dtype == np.float32


def test_more_ads_without_an_answer_promise_less_and_a_user_of_whom_nothing_is_known_is_usual() -> None:
    user, column = np.zeros(len(USER_FEATURES), np.float32), RESPONSE_FEATURES.index("log_response_rate")

    def rate(clicks: int, impressions: int) -> float:
        scores = np.full(3, 0.2, np.float32)
        return float(
            response_features(scores, np.zeros(2, np.float32), user, clicks, impressions, creatives())[
                0, column
            ]
        )

    assert rate(0, 0) == pytest.approx(math.log(0.01))
    assert rate(0, 100) < rate(0, 10) < rate(0, 0) < rate(1, 10)
    # As many again of both: the same user, only better known.
    assert rate(10, 1_000) == pytest.approx(rate(1, 100), abs=0.1)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_certain_scores_stay_finite(score: float) -> None:
    features = response_features(
        np.full(3, score, np.float32),
        np.zeros(2, np.float32),
        np.zeros(len(USER_FEATURES), np.float32),
        0,
        0,
        creatives(),
    )

    assert np.isfinite(features).all()
    assert (abs(features[:, 0]) > 10.0).all()


def test_no_creatives_give_no_rows() -> None:
    none = CreativeArrays(np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))

    features = response_features(
        np.zeros(3, np.float32), np.zeros(2, np.float32), np.zeros(len(USER_FEATURES), np.float32), 0, 0, none
    )

    assert features.shape == (0, 5)


def test_the_model_is_a_logistic_regression() -> None:
    model = ResponseModel([1.0, 2.0, 0.0, 0.0, -1.0], 0.5)

    # 1 * 0.5 + 2 * 0.25 - 1 * 1.5 + 0.5 = 0
    predicted = model.predict(np.array([[0.5, 0.25, 9.0, 9.0, 1.5]], np.float32))

    assert predicted.tolist() == [0.5]


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=5, max_size=5))
def test_predictions_are_probabilities_whatever_the_features(row: list[float]) -> None:
    predicted = ResponseModel([1.0, -2.0, 3.0, -4.0, 5.0], 1.0).predict(np.array([row], np.float32))

    assert 0.0 <= predicted[0] <= 1.0


def test_the_manifest_section_gives_the_same_model_again() -> None:
    model = ResponseModel([0.5, 0.25, -0.125, 1.0, 2.0], -4.5)

    again = ResponseModel.from_manifest({"model": "interest_head", "ad_response": model.manifest_section()})

    assert again.weights.tolist() == [0.5, 0.25, -0.125, 1.0, 2.0]
    assert again.bias == -4.5


def test_other_features_in_the_manifest_are_refused() -> None:
    section = ResponseModel([0.0] * 5, 0.0).manifest_section() | {"features": ["interest_logit", "price"]}

    with pytest.raises(
        ModelRepositoryError, match=r"fitted on \['interest_logit', 'price'\], this release computes"
    ):
        ResponseModel.from_manifest({"ad_response": section})


@pytest.mark.parametrize(
    "manifest", [{}, {"ad_response": None}, {"ad_response": {"weights": [], "bias": 0.0}}]
)
def test_a_manifest_without_the_section_is_refused(manifest: dict[str, object]) -> None:
    with pytest.raises(ModelRepositoryError, match="no section ad_response with features, weights and bias"):
        ResponseModel.from_manifest(manifest)


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelRepositoryError, match=r"weights of shape \(2,\), this release needs \(5,\)"):
        ResponseModel([1.0, 2.0], 0.0)
    with pytest.raises(ModelRepositoryError, match="not all finite: train it again"):
        ResponseModel([1.0, 2.0, 3.0, 4.0, math.nan], 0.0)
