from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.ads.response import RESPONSE_FEATURES, ResponseModel
from stream.events import BehaviourEvent
from trainer.ads import ResponseRows, _bounded_logistic, assumed_response, fit_response, measured_response
from trainer.mailings import Mailings
from trainer.position_bias import UNKNOWN, PositionBias
from trainer.samples import Samples, Snapshot

pytestmark = pytest.mark.trainer


def test_the_fit_finds_the_weights_that_made_the_outcomes() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(20_000, len(RESPONSE_FEATURES))).astype(np.float32)
    wanted = np.array([1.0, 0.5, 0.3, -0.4, 0.0])
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
    features[:, RESPONSE_FEATURES.index("log_response_rate")] = [-2.0, -5.0, -9.0]

    probability = response.predict(features)

    assert probability[1] == pytest.approx(0.01, abs=1e-4)
    assert np.all(np.diff(probability) > 0)


def impressions(count: int) -> ResponseRows:
    """What users like is put first by the shop; what stands second is answered half as often, third a quarter as often."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(count, len(RESPONSE_FEATURES))).astype(np.float32)
    interest = features[:, RESPONSE_FEATURES.index("interest_logit")]
    position = np.clip(np.round(1 - interest + draw.normal(size=count)), 0, 2).astype(np.int64)
    odds = np.exp(-1.5 + 0.5 * interest) * 0.5**position
    return ResponseRows(
        features=features,
        redeemed=draw.random(count) < odds / (1 + odds),
        household=np.arange(count) % 8 // 7,  # every eighth is the second's
        is_test=np.arange(count) % 4 == 3,
        position=position,
    )


class TwoHouseholds:
    """The second is held out."""

    held_out = np.array([False, True])
    fitted = np.array([True, False])


def test_what_stood_lower_is_not_liked_less() -> None:
    rows, shop = impressions(30_000), cast("Samples", TwoHouseholds())

    told = fit_response(shop, rows)
    blind = fit_response(shop, rows._replace(position=np.full(30_000, UNKNOWN)))

    place = RESPONSE_FEATURES.index("interest_logit")
    assert told["weights"][place] == pytest.approx(0.5, abs=0.06)
    assert blind["weights"][place] > 0.65
    effects = told["metrics"]["position_effects"]
    assert effects["from_position_1"] == pytest.approx(np.log(0.5), abs=0.15)
    assert effects["from_position_2"] == pytest.approx(np.log(0.25), abs=0.2)
    assert blind["metrics"]["position_effects"] == {}


def test_later_campaigns_are_looked_at_only_where_that_is_asked() -> None:
    rows, shop = impressions(30_000), cast("Samples", TwoHouseholds())
    other = rows._replace(redeemed=np.where(rows.is_test, ~rows.redeemed, rows.redeemed))

    told = fit_response(shop, rows)
    tested = measured_response(shop, rows, told)

    assert fit_response(shop, other) == told
    assert tested["test"]["rows"] == 7_500
    assert tested["test"]["rows"] > tested["test_held_out"]["rows"] > 0
    assert tested["test"]["auc"] > 0.6
    assert tested["test"]["log_loss"] < tested["test"]["constant_log_loss"]


def test_positions_too_rare_join_the_one_before() -> None:
    bias = PositionBias(np.repeat([1, 2, 5, 9], [300, 300, 10, 250]))

    assert bias.names == ["from_position_2", "from_position_9"]
    columns = bias.columns(np.array([UNKNOWN, 1, 2, 5, 9, 12]))
    assert columns.tolist() == [[0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0, 1]]


def test_an_impression_tells_where_it_stood() -> None:
    campaign = {"cid": "c", "starts_at_ms": 0, "mailed": True, "creatives": [{"crid": "a"}, {"crid": "b"}]}
    mailings = Mailings([campaign])
    item = {"item_id": "x", "index": 3}
    for crid, items in (("a", [item]), ("b", [])):
        ad = {"cid": "c", "crid": crid}
        event = {"event_type": "ad_impression", "user_id": "u", "ad": ad, "items": items}
        mailings.note(BehaviourEvent.model_validate(event), 0)
    nothing: Any = np.zeros(1)
    mailings.snapshots["c"] = Snapshot(*[nothing] * len(Snapshot._fields))

    assert mailings.finished()[0].positions.tolist() == [[3, UNKNOWN]]
