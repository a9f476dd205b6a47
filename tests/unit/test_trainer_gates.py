from typing import Any

import pytest

from trainer.errors import GateError
from trainer.gates import judge, parse_forced, require

PROTOCOL = {"samples": "5a", "cutoffs": ["2017-10-29"], "labels": "1b"}


def variant(ndcg10: float = 0.70, macro_auc: float = 0.80, ece: float = 0.004) -> dict[str, Any]:
    return {
        "gbdt": {"ndcg10": 0.70, "macro_auc": 0.80, "ece": 0.003},
        "model": {"ndcg10": ndcg10, "macro_auc": macro_auc, "ece": ece},
        "model_minus_gbdt_ci": [-0.003, 0.003],
        "model_minus_gbdt_auc_ci": [0.001, 0.005],
    }


def evaluation(**all_: float) -> dict[str, Any]:
    variants = {"all": variant(**all_), "novel8": variant(), "never": variant()}
    return {"variants": variants, "protocol": PROTOCOL, "acts": {"least_step": 0.1}}


def manifest(**all_: float) -> dict[str, Any]:
    return {"version": "4", "evaluation": evaluation(**all_)}


def failed(found: dict[str, Any], predecessor: dict[str, Any] | None = None) -> list[str]:
    return [gate.name for gate in judge(found, predecessor).gates if not gate.passed]


def test_a_version_that_reaches_every_bar_passes() -> None:
    verdict = require(judge(evaluation(), None), {})

    assert verdict.forced == {}
    assert verdict.predecessor == "there is none"
    assert len(verdict.gates) == 11


def test_a_version_to_which_a_cart_says_less_than_a_click_is_refused() -> None:
    assert failed({**evaluation(), "acts": {"least_step": -0.01}}) == ["acts-order"]


def test_a_figure_just_at_its_bound_passes() -> None:
    assert failed(evaluation(ece=0.005)) == []


@pytest.mark.parametrize(
    ("figures", "gate"),
    [
        ({"ece": 0.0051}, "ece-all"),
        ({"ndcg10": 0.697}, "gbdt-ndcg10-all"),
        ({"ece": float("nan")}, "ece-all"),
    ],
)
def test_a_version_below_a_bar_is_refused(figures: dict[str, float], gate: str) -> None:
    assert failed(evaluation(**figures)) == [gate]


def test_a_difference_that_is_surely_negative_is_refused_however_small() -> None:
    found = evaluation(ndcg10=0.699)
    found["variants"]["all"]["model_minus_gbdt_ci"] = [-0.0018, -0.0002]

    assert failed(found) == ["gbdt-ndcg10-all-interval"]


def test_a_macro_auc_that_is_not_surely_above_is_refused() -> None:
    found = evaluation()
    found["variants"]["never"]["model_minus_gbdt_auc_ci"] = [-0.0001, 0.009]

    assert failed(found) == ["gbdt-macro_auc-never-interval"]


def groups(*intervals: tuple[float, float]) -> dict[str, Any]:
    rows = [
        {"group": str(row), "calibration_gap_ci": list(ends), "ok": True}
        for row, ends in enumerate(intervals)
    ]
    return {"attributes": {"age": [*rows, {"group": "few", "households": 3}]}, "failed": [], "ok": True}


def test_a_group_whose_calibration_gap_is_surely_off_zero_refuses_the_version() -> None:
    fair, unfair = groups((-0.03, 0.03), (0.02, 0.04)), groups((-0.01, 0.01), (-0.04, -0.021))

    assert failed({**evaluation(), "fairness": fair}) == []
    assert failed({**evaluation(), "fairness": unfair}) == ["fairness"]


def test_an_ad_response_that_says_less_than_a_constant_refuses_the_version() -> None:
    def coupons(log_loss: float) -> dict[str, Any]:
        return {"test_held_out": {"log_loss": log_loss, "constant_log_loss": 0.04}}

    assert failed({**evaluation(), "coupon_response": coupons(0.039)}) == []
    assert failed({**evaluation(), "coupon_response": coupons(0.041)}) == ["coupon-log-loss"]
    assert failed({**evaluation(), "coupon_response": {}}) == []


def test_where_no_groups_are_known_fairness_is_not_asked() -> None:
    nobody = {"attributes": {}, "failed": [], "ok": True}

    assert "fairness" not in [gate.name for gate in judge({**evaluation(), "fairness": nobody}, None).gates]


def test_a_version_below_its_predecessor_is_refused() -> None:
    assert failed(evaluation(), manifest(ndcg10=0.703)) == ["predecessor-ndcg10-all"]
    assert failed(evaluation(), manifest(macro_auc=0.803)) == ["predecessor-macro_auc-all"]


def test_a_version_about_level_with_its_predecessor_passes() -> None:
    verdict = judge(evaluation(), manifest(ndcg10=0.7015))

    assert all(gate.passed for gate in verdict.gates)
    assert verdict.predecessor == "version 4 was compared"


def test_a_predecessor_of_another_evaluation_is_not_compared_and_that_is_said() -> None:
    other = manifest(ndcg10=0.9)
    other["evaluation"]["protocol"] = {**PROTOCOL, "samples": "6b"}

    verdict = judge(evaluation(), other)

    assert all(gate.passed for gate in verdict.gates)
    assert (
        verdict.predecessor == "version 4 was not compared: it was evaluated with other samples (6b, not 5a)"
    )


def test_a_predecessor_that_does_not_say_how_it_was_evaluated_is_not_compared() -> None:
    other = manifest(ndcg10=0.9)
    del other["evaluation"]["protocol"]

    assert judge(evaluation(), other).predecessor == (
        "version 4 was not compared: it does not say how it was evaluated"
    )


def test_a_refusal_names_gate_figure_bound_and_what_to_do() -> None:
    with pytest.raises(GateError) as refused:
        require(judge(evaluation(ece=0.0123), None), {})

    assert str(refused.value) == (
        "this version is not published: ece-all: the calibration error is +0.0123, at most +0.0050 is asked. Train and "
        'evaluate again, or publish it nevertheless and say why, which its manifest keeps: --force ece-all="WHY"'
    )


def test_a_failed_gate_is_overridden_by_name_and_recorded_with_the_reason() -> None:
    verdict = require(judge(evaluation(ece=0.0123), None), {"ece-all": "a demo", "gbdt-ndcg10-all": "unused"})

    document = verdict.document()

    assert document["forced"] == {"ece-all": "a demo"}
    assert [gate["name"] for gate in document["gates"] if not gate["passed"]] == ["ece-all"]


def test_overriding_one_gate_does_not_override_another() -> None:
    with pytest.raises(GateError, match=r'--force gbdt-ndcg10-all="WHY"$'):
        require(judge(evaluation(ece=0.0123, ndcg10=0.6), None), {"ece-all": "a demo"})


def test_an_override_of_no_gate_is_refused() -> None:
    with pytest.raises(GateError, match="there is no gate calibration: name one of ece-all, gbdt-ndcg10-all"):
        require(judge(evaluation(), None), {"calibration": "a demo"})


def test_an_evaluation_without_a_figure_is_refused() -> None:
    found = evaluation()
    del found["variants"]["never"]["gbdt"]

    with pytest.raises(
        GateError, match=r"no figure never\.gbdt\.ndcg10, .* run `interestflow-trainer evaluate`"
    ):
        judge(found, None)


def test_a_figure_that_a_small_shop_can_not_measure_is_a_gate_that_fails_and_may_be_overridden() -> None:
    found = evaluation()
    found["variants"]["never"] = {**variant(), "model_minus_gbdt_auc_ci": [None, None]}
    gate = "gbdt-macro_auc-never-interval"

    with pytest.raises(GateError, match=f"{gate}: .* can't be measured on so few held-out users"):
        require(judge(found, None), {})

    verdict = require(judge(found, None), {gate: "a shop of 150 users"})
    assert [row["figure"] for row in verdict.document()["gates"] if row["name"] == gate] == [None]


def test_reasons_are_read_by_gate() -> None:
    assert parse_forced(["ece-all=a = b", "x= y "]) == {"ece-all": "a = b", "x": "y"}


@pytest.mark.parametrize("given", ["ece-all", "ece-all=", "=why", "ece-all= "])
def test_an_override_without_name_or_reason_is_refused(given: str) -> None:
    with pytest.raises(GateError, match="has no reason: write --force"):
        parse_forced([given])
