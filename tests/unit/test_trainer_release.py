"""What is asked of a run before its version is published; parity with a real Triton is measured elsewhere."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

import trainer.release
from stream.fusing import Fusion
from stream.model.repository import load_bundle
from trainer.calendar import calendar_of
from trainer.errors import GateError, TrainerError
from trainer.gates import trial_run
from trainer.images import keep_fusion
from trainer.interests import LabelSet
from trainer.publish import read_manifest
from trainer.recipe import Recipe
from trainer.release import publish_version
from trainer.rows import TextVectors
from trainer.workspace import Workspace

pytestmark = pytest.mark.trainer
GAP = {"vectors": 0.0, "scores": 0.0, "top10_agreement": 1.0}


class TwoLabels:
    """What publishing asks of samples."""

    data = {"name": "made up", "sha256": "5a" * 32}  # noqa: RUF012 - as the class it stands for has it
    labels = LabelSet(["cheese", "soft drinks"])
    calendar = calendar_of(date(2025, 1, 1), date(2026, 1, 1))


def evaluation(work: Workspace, ece: float) -> dict[str, Any]:
    row = {"ndcg10": 0.7, "recall10": 0.3, "macro_auc": 0.8, "micro_auc": 0.8, "ece": ece}
    interval = [-0.001, 0.001]
    models = {
        "model": row,
        "gbdt": row,
        "model_minus_gbdt_ci": interval,
        "model_minus_gbdt_auc_ci": [0.001, 0.003],
    }
    return {
        "variants": dict.fromkeys(("all", "novel8", "never"), models),
        "intent": {},
        "acts": {"least_step": 0.1},
        "protocol": {"samples": "5a"},
        "onnx_sha256": work.onnx_sha256(),
    }


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = Workspace(tmp_path / "work")
    made.directory.mkdir()
    made.encoder_onnx.write_text("an encoder")
    made.head_onnx.write_text("a head")
    made.save_vectors(TextVectors(np.eye(2, 384, dtype=np.float32), np.eye(2, 384, dtype=np.float32)))
    for name, figures in {"export": {}, "train": {}, "ads": {}, "evaluate": evaluation(made, 0.004)}.items():
        made.save_json(name, figures)
    monkeypatch.setattr(made, "samples", TwoLabels)
    monkeypatch.setattr(trainer.release, "make_probe", lambda *_: None)
    for name in ("onnx_encoder", "onnx_head"):
        monkeypatch.setattr(trainer.release, name, lambda _: None)
    monkeypatch.setattr(trainer.release, "triton_parity", lambda *_: {"onnx_triton": {"interest_head": GAP}})
    return made


def test_each_publication_takes_the_next_number_and_says_what_it_was_compared_with(
    work: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "models"

    told = [publish_version(work, out, Path("python"), Recipe(), {}) for _ in range(3)]

    assert [found["version"] for found in told] == [1, 2, 3]
    assert told[2]["removed"] == [1]
    assert told[1]["gates"]["predecessor"] == "version 1 was compared"
    assert load_bundle(out).head.version == "3"
    assert read_manifest(out)["parity"]["onnx_triton"] == {"interest_head": GAP}
    assert (out / "interest_head" / "3" / "model_card.md").read_text().count("| passed |") == 17


def test_a_version_below_a_gate_is_written_only_when_that_is_overridden(
    work: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "models"
    work.save_json("evaluate", evaluation(work, 0.02))

    with pytest.raises(GateError, match="ece-all"):
        publish_version(work, out, Path("python"), Recipe(), {})
    assert not out.exists()

    publish_version(work, out, Path("python"), Recipe(), {"ece-all": "a demo"})
    assert read_manifest(out)["gates"]["forced"] == {"ece-all": "a demo"}


def test_an_evaluation_of_other_files_is_refused(work: Workspace, tmp_path: Path) -> None:
    work.head_onnx.write_text("a head that was trained later")

    with pytest.raises(TrainerError, match=r"is of other ONNX files than those there; run .* again"):
        publish_version(work, tmp_path / "models", Path("python"), Recipe(), {})


def test_a_trial_run_overrides_every_gate_that_fails(work: Workspace, tmp_path: Path) -> None:
    found = evaluation(work, 0.02)
    unfair = {"group": "under 35K", "calibration_gap_ci": [0.03, 0.05], "ok": False}
    found["fairness"] = {"attributes": {"income": [unfair]}}
    work.save_json("evaluate", found)

    waived = trial_run(found)
    told = publish_version(work, tmp_path / "models", Path("python"), Recipe.quick(), waived)

    assert set(told["gates"]["forced"]) == {"ece-all", "fairness"}


def test_a_run_with_images_is_published_with_how_it_takes_them(work: Workspace, tmp_path: Path) -> None:
    projection = np.eye(384, 3, dtype=np.float32)
    keep_fusion(work.directory, Fusion(projection, 0.25))

    publish_version(work, tmp_path / "models", Path("python"), Recipe(), {})

    fusion = load_bundle(tmp_path / "models").fusion
    assert fusion is not None
    assert np.array_equal(fusion.projection, projection)
    assert fusion.weight == 0.25
    assert read_manifest(tmp_path / "models")["images"] == {"dimensions": 3, "weight": 0.25}
