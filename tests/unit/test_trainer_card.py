import json
from pathlib import Path
from typing import Any

from trainer.card import card
from trainer.gates import judge, require
from trainer.publish import read_manifest

ROOT = Path(__file__).parents[2]


def manifest() -> dict[str, Any]:
    row = {"ndcg10": 0.5, "recall10": 0.25, "macro_auc": 0.75, "micro_auc": 0.8}
    models = {
        "gbdt": {**row, "ece": None},
        "model": {**row, "ece": 0.006},
        "model_minus_gbdt_ci": [-0.01, 0.02],
        "model_minus_gbdt_auc_ci": [0.0, 0.01],
    }
    evaluation = {
        "variants": dict.fromkeys(("all", "novel8", "never"), models),
        "intent": {"1d": {"auc": 0.7, "ece": 0.01, "base_rate": 0.2}},
        "acts": {"click": 0.4, "purchase": 1.9, "least_step": 0.2, "out_of_order": 0.01},
        "protocol": {"samples": "5a", "cutoffs": ["2017-10-29", "2017-11-05"]},
    }
    gap = {"vectors": 1e-7, "scores": 2e-7, "top10_agreement": 0.9995}
    return {
        "version": "3",
        "encoder_version": "c21e7b5d",
        "label_set_hash": "6b472e1bfe37da11",
        "max_tokens": 64,
        "outputs": [{"name": "SCORES", "dtype": "FP32", "dims": [268]}],
        "data": {"name": "a shop", "sha256": "f85f29633d94d57e"},
        "recipe": {"command": "interestflow-trainer make", "base": "MiniLM", "encoder": {"steps": 240}},
        "evaluation": evaluation,
        "gates": require(judge(evaluation, None), {"ece-all": "a demo"}).document(),
        "parity": {"onnx_triton": {"interest_head": gap}, "tolerance": {"vectors": 1e-4}},
    }


def test_the_card_says_what_the_manifest_records() -> None:
    text = card(manifest())

    for line in (
        "# behaviour_encoder and interest_head, version 3",
        "| interests | 268 (label set `6b472e1bfe37`) |",
        "| trained on | a shop |",
        "| encoder | steps 240 |",
        "Protocol: samples 5a, cutoffs 2017-10-29 and 2017-11-05.",
        "| never | model | 0.5000 | 0.2500 | 0.7500 | 0.0060 |",
        "| never | gbdt | 0.5000 | 0.2500 | 0.7500 | - |",
        "- Purchase within 1d: AUC 0.7000, ECE 0.0100, base rate 0.2000.",
        "| gbdt-ndcg10-all | +0.0000 | -0.0020 | passed |",
        "| onnx_triton | interest_head | 1.0e-07 | 2.0e-07 | 99.95% |",
    ):
        assert line in text.splitlines()


def test_the_card_says_which_gate_was_overridden_and_why() -> None:
    assert "| ece-all | +0.0060 | +0.0050 | **overridden**: a demo |" in card(manifest())


def test_a_version_that_records_nothing_still_has_a_card() -> None:
    bare = {
        name: manifest()[name]
        for name in ("version", "encoder_version", "label_set_hash", "max_tokens", "outputs")
    }

    text = card(json.loads(json.dumps(bare)))

    assert "| trained on | not recorded |" in text
    assert "##" not in text


def test_the_page_has_the_card_of_the_shipped_version() -> None:
    page = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")

    assert card(read_manifest(ROOT / "triton_models")) in page
