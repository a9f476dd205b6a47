"""The head on a shop of six interests in two departments, with random tables."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from trainer.calibration import fit_curve, fit_line, fit_steps  # noqa: E402
from trainer.contract import HEAD_INPUTS, HEAD_OUTPUTS  # noqa: E402
from trainer.derived import FEATURES, HISTORY_ONLY, TEXT_FEATURES  # noqa: E402
from trainer.errors import ParityError  # noqa: E402
from trainer.export import OPSET, export_head, round_to_half, save_onnx  # noqa: E402
from trainer.fit_head import HeadRecipe, TrainingRows, fit_network, fit_scaling, predict  # noqa: E402
from trainer.head import HeadShape, InterestHead, MonotoneCurve  # noqa: E402
from trainer.parity import (  # noqa: E402
    Disagreement,
    OnnxModel,
    compare,
    require_parity,
    top10_agreement,
    torch_head_outputs,
)
from trainer.tables import Tables  # noqa: E402
from trainer.user_level import user_level  # noqa: E402

pytestmark = pytest.mark.trainer
LABELS, HISTORY, USER, DIMENSIONS = 6, 10, 11, 384


def tables(seed: int = 0) -> Tables:
    draw = np.random.default_rng(seed)

    def array(*shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        return draw.random(shape).astype(np.float32)

    departments = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 1]]
    return Tables(
        rates=-array(LABELS, 5),
        neighbours=array(LABELS, LABELS),
        ease=array(LABELS, LABELS),
        follows=array(LABELS, LABELS),
        svd_mean=array(LABELS),
        svd_basis=array(3, LABELS),
        departments=departments,
        department_share=np.array([0.5, 0.5], dtype=np.float32),
        rarity=array(LABELS),
    )


def head(seed: int = 0) -> InterestHead:
    torch.manual_seed(seed)
    names = np.random.default_rng(seed).normal(size=(LABELS, DIMENSIONS)).astype(np.float32)
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    made = InterestHead(tables(seed), names, HeadShape(hidden=8))
    made.eval()
    return made


def inputs(count: int, seed: int = 1) -> "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]":
    draw = np.random.default_rng(seed)
    window = draw.normal(size=(count, 2, DIMENSIONS))
    window /= np.linalg.norm(window, axis=2, keepdims=True)
    arrays = (draw.gamma(0.5, 4.0, (count, LABELS, HISTORY)), draw.gamma(1.0, 9.0, (count, USER)), window)
    return {name: array.astype(np.float32) for name, array in zip(HEAD_INPUTS, arrays, strict=True)}


def nobody() -> "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]":
    return {name: np.zeros_like(array) for name, array in inputs(1).items()}


def test_scores_and_intent_are_probabilities_and_the_user_vector_has_length_one() -> None:
    found = torch_head_outputs(head(), inputs(5))

    assert found["SCORES"].shape == (5, LABELS)
    assert found["INTENT"].shape == (5, 3)
    assert ((found["SCORES"] > 0) & (found["SCORES"] < 1)).all()
    np.testing.assert_allclose(np.linalg.norm(found["USER_VECTOR"], axis=1), 1.0, rtol=1e-5)


def test_a_user_of_whom_nothing_is_known_gets_finite_scores_and_a_unit_vector() -> None:
    found = torch_head_outputs(head(), nobody())

    assert all(np.isfinite(array).all() for array in found.values())
    assert np.linalg.norm(found["USER_VECTOR"]) == pytest.approx(1.0, abs=1e-5)


def test_gradient_boosting_is_shown_no_text() -> None:
    assert FEATURES[HISTORY_ONLY:] == TEXT_FEATURES


def test_the_derived_flags_say_what_was_bought_lately_and_ever() -> None:
    raw = nobody()
    raw["HISTORY"][0, :, 7] = [3.0, 80.0, 400.0, 55.9, 56.0, 400.0]  # days since purchase
    raw["HISTORY"][0, :, 6] = [1.0, 2.0, 0.0, 1.0, 1.0, 0.0]  # purchases

    derived = head().derived(*(torch.from_numpy(raw[name]) for name in HEAD_INPUTS))[0]

    assert derived[:, FEATURES.index("bought_recently")].tolist() == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    assert derived[:, FEATURES.index("bought_ever")].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]


def test_an_interest_says_nothing_of_itself_through_its_own_name() -> None:
    raw = nobody()
    raw["HISTORY"][0, 2, 2] = 5.0  # only interest 2 was bought, decayed over 28 days

    derived = head().derived(*(torch.from_numpy(raw[name]) for name in HEAD_INPUTS))[0]
    likeness = derived[:, FEATURES.index("name_neighbours_28d")]

    assert likeness.argmin() == 2


def test_onnx_says_what_pytorch_says_for_any_number_of_users(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    made = head()
    round_to_half(made)
    export_head(made, LABELS, tmp_path / "head.onnx")
    onnx = OnnxModel(tmp_path / "head.onnx", HEAD_OUTPUTS)

    for count in (1, 2, 7):
        found = compare(torch_head_outputs(made, inputs(count)), onnx.run(inputs(count)))
        require_parity(found, "PyTorch and ONNX")


def test_a_large_table_is_stored_once(tmp_path: Path) -> None:
    table = np.ones((64, 64), np.float32)
    tensors = [
        numpy_helper.from_array(array, name) for name, array in (("a", table), ("b", table), ("c", -table))
    ]
    nodes = [helper.make_node("Add", ["a", "b"], ["ab"]), helper.make_node("Add", ["ab", "c"], ["sum"])]
    out = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [64, 64])
    model = helper.make_model(
        helper.make_graph(nodes, "tables", [], [out], tensors), opset_imports=[helper.make_opsetid("", OPSET)]
    )

    save_onnx(model, tmp_path / "model.onnx")

    saved = onnx.load(tmp_path / "model.onnx")
    assert [tensor.name for tensor in saved.graph.initializer] == ["a", "c"]
    said = OnnxModel(tmp_path / "model.onnx", ("sum",)).run({})
    np.testing.assert_array_equal(said["sum"], table)


def test_runtimes_that_disagree_are_refused_with_the_figures() -> None:
    with pytest.raises(ParityError, match=r"scores by 0.3 \(at most 0.0001\)"):
        require_parity(Disagreement(vectors=0.0, scores=0.3, top10_agreement=1.0), "ONNX and Triton")


def test_outputs_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ParityError, match="not finite"):
        compare({"SCORES": np.array([[np.nan]])}, {"SCORES": np.array([[0.5]])})


def test_a_calibration_line_turns_overconfident_logits_back() -> None:
    torch.manual_seed(0)
    true = torch.randn(20_000) * 1.5 - 1.0
    outcomes = torch.rand(20_000) < torch.sigmoid(true)
    curve = MonotoneCurve(1)

    fit_line(curve, true * 3.0 + 2.0, outcomes)

    assert float(curve.slopes[0]) == pytest.approx(1 / 3, abs=0.03)


def test_a_calibration_curve_keeps_the_order() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5_000)
    curve = MonotoneCurve(4)

    fit_curve(curve, logits, torch.rand(5_000) < 0.3)

    assert (torch.diff(curve(torch.linspace(-4, 4, 200))) > 0).all()


def test_an_interest_that_the_curve_puts_too_low_steps_up_and_a_rare_one_stays() -> None:
    torch.manual_seed(0)
    said = torch.full((20_000, 3), -2.0)
    true = said + torch.tensor([0.0, 0.4, 0.4])
    outcomes = torch.rand(true.shape) < torch.sigmoid(true)

    often = fit_steps(said, outcomes)
    seldom = fit_steps(said[:20], outcomes[:20])

    assert float(often[0]) == pytest.approx(0.0, abs=0.1)
    assert float(often[1]) == pytest.approx(0.4, abs=0.1)
    assert bool((seldom.abs() < 0.02).all())


def test_training_finds_that_what_was_bought_is_bought_again() -> None:
    torch.manual_seed(0)
    made = head()
    raw = {name: torch.from_numpy(array) for name, array in inputs(256).items()}
    bought = raw["HISTORY"][..., 2] > 2.0
    everything = torch.ones_like(bought)
    rows = TrainingRows(
        derived=made.derived(raw["HISTORY"], raw["USER"], raw["WINDOW"]).half(),
        level=user_level(raw["HISTORY"], raw["USER"]),
        bought=bought,
        novel=everything,
        never=everything,
        intent=torch.zeros((256, 3), dtype=torch.bool),
        acts=made.derived(raw["HISTORY"], raw["USER"], raw["WINDOW"])[:, :2],
    )
    fit_scaling(made, rows)

    fit_network(made, rows, HeadRecipe(epochs=30, batch=32, learning_rate=1e-2))

    logits = predict(made, rows.derived)
    assert logits[bought].mean() > logits[~bought].mean() + 2.0


def test_scores_that_rounding_alone_tells_apart_may_change_places() -> None:
    one = np.linspace(0.9, 0.1, 12, dtype=np.float32)[np.newaxis].copy()
    one[0, 10] = one[0, 9] - 2e-6
    swapped, apart = one.copy(), one.copy()
    swapped[0, [9, 10]] = one[0, [10, 9]]
    apart[0, [9, 11]] = one[0, [11, 9]]

    assert top10_agreement(one, swapped) == 1.0
    assert top10_agreement(one, apart) == pytest.approx(0.9)
