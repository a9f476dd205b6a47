import json
from pathlib import Path

import numpy as np
import pytest

import trainer.publish
from stream.model.repository import load_bundle
from trainer.errors import ExportError
from trainer.interests import LabelSet
from trainer.publish import Version, publish

ROOT = Path(__file__).parents[2]


@pytest.fixture
def version(tmp_path: Path) -> Version:
    files = {name: tmp_path / name for name in ("encoder.onnx", "head.onnx", "tokenizer.json")}
    for name, path in files.items():
        path.write_text(name)
    return Version(
        number=1,
        encoder_onnx=files["encoder.onnx"],
        head_onnx=files["head.onnx"],
        tokenizer=files["tokenizer.json"],
        vocabulary=100,
        labels=LabelSet(["cheese", "soft drinks"]),
        interest_vectors=np.eye(2, 384, dtype=np.float32),
        record={"data": {"name": "made up"}},
        ad_response={"features": ["a"], "weights": [1.0], "bias": 0.0},
    )


def test_the_worker_accepts_what_is_published(version: Version, tmp_path: Path) -> None:
    publish(tmp_path / "models", version)

    bundle = load_bundle(tmp_path / "models")

    assert [interest.id for interest in bundle.interests] == ["cheese", "soft-drinks"]
    assert bundle.buckets == (16, 32, 64)
    assert bundle.ad_response["weights"] == [1.0]


def test_every_file_of_a_version_is_in_its_manifest(version: Version, tmp_path: Path) -> None:
    publish(tmp_path / "models", version)

    for directory in (tmp_path / "models").glob("*/1"):
        listed = json.loads((directory / "manifest.json").read_text())["files"]
        assert {*listed, "manifest.json"} == {path.name for path in directory.iterdir()}


def test_a_version_is_replaced_as_a_whole_and_others_stay(version: Version, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    publish(repository, version)
    (repository / "interest_head" / "1" / "stray.txt").write_text("left by hand")
    (repository / "interest_head" / "7").mkdir()

    publish(repository, version)

    assert not (repository / "interest_head" / "1" / "stray.txt").exists()
    assert (repository / "interest_head" / "7").is_dir()


def test_nothing_is_left_beside_the_repository(version: Version, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())

    publish(tmp_path / "models", version)

    assert set(tmp_path.iterdir()) - before == {tmp_path / "models"}


def test_a_version_too_large_for_git_is_refused_and_changes_nothing(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer.publish, "MAX_BYTES", 1000)

    with pytest.raises(ExportError, match=r"the version has \d+ bytes, at most 1000 are shipped"):
        publish(tmp_path / "models", version)

    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("model", ["behaviour_encoder", "interest_head"])
def test_the_served_file_is_the_one_in_the_trainer(model: str) -> None:
    served = ROOT / "triton_models" / model / "1" / "model.py"

    assert served.read_text() == (ROOT / "trainer" / "triton_model.py").read_text()


def test_the_shipped_repository_is_small_and_fits_this_release() -> None:
    repository = ROOT / "triton_models"

    bundle = load_bundle(repository)

    assert bundle.labels == 268
    size = sum(
        path.stat().st_size
        for path in repository.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    )
    assert size <= 25_000_000
