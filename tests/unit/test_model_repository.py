"""The worker uses a model version only if everything that it relies on fits."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.ads.response import RESPONSE_FEATURES
from stream.errors import ModelRepositoryError
from stream.model.repository import ModelVersion, load_bundle
from stream.render import category_hash
from tests.toy_repository import (
    ENCODER,
    HEAD,
    add_projection,
    write_json,
    write_manifest,
    write_toy_repository,
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_toy_repository(tmp_path / "models", labels=3, dimensions=8)


def change_labels(repository: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = repository / HEAD / "1" / "labels.json"
    labels = json.loads(path.read_text())
    change(labels)
    write_json(path, labels)


def reason(repository: Path) -> str:
    with pytest.raises(ModelRepositoryError) as caught:
        load_bundle(repository)
    return str(caught.value)


def test_a_bundle_says_all_that_the_worker_needs(repository: Path) -> None:
    bundle = load_bundle(repository)

    assert bundle.encoder == ModelVersion("behaviour_encoder", "1")
    assert bundle.head == ModelVersion("interest_head", "1")
    assert (bundle.encoder_version, bundle.labels, bundle.dimensions) == ("toy-1", 3, 8)
    assert (bundle.taxonomy, bundle.interest_level, bundle.half_life_days) == ("toy.aisles", 2, 28.0)
    assert [interest.id for interest in bundle.interests] == ["fluid-milk", "bread", "cheese"]
    assert bundle.row_by_category[category_hash("FLUID  milk")] == 0
    assert bundle.row_by_category[category_hash("cheese")] == 2
    assert bundle.label_set_hash == hashlib.sha256(b"fluid-milk\nbread\ncheese").hexdigest()
    assert bundle.tokenizer_path == repository / ENCODER / "1" / "tokenizer.json"
    assert (bundle.max_tokens, bundle.buckets) == (64, (16, 32, 64))
    assert bundle.ad_response["bias"] == -3.0
    assert bundle.ad_response["features"] == list(RESPONSE_FEATURES)


def test_interest_vectors_are_read_only_float32_of_unit_length(repository: Path) -> None:
    vectors = load_bundle(repository).interest_vectors

    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-3)
    assert not vectors.flags.writeable


def test_the_highest_version_is_taken_by_number(repository: Path) -> None:
    write_toy_repository(repository, labels=2, dimensions=8, version="9")
    write_toy_repository(repository, labels=4, dimensions=8, version="10")
    (repository / HEAD / "configs").mkdir()

    bundle = load_bundle(repository)

    assert (bundle.encoder.version, bundle.head.version, bundle.labels) == ("10", "10", 4)


def test_a_new_head_may_go_with_an_older_encoder_of_the_same_encoder_version(repository: Path) -> None:
    write_toy_repository(repository, labels=2, dimensions=8, version="2")
    shutil.rmtree(repository / ENCODER / "2")

    bundle = load_bundle(repository)

    assert (bundle.encoder.version, bundle.head.version) == ("1", "2")


def test_a_version_is_taken_with_the_encoder_that_it_was_trained_with(repository: Path) -> None:
    write_toy_repository(repository, labels=2, dimensions=8, version="2")
    write_toy_repository(repository, labels=2, dimensions=8, version="3")
    write_manifest(repository / ENCODER / "3", encoder_version="toy-2")
    write_manifest(repository / HEAD / "3", encoder_version="toy-2")

    taken = [load_bundle(repository, version) for version in ("1", "2", "3")]

    assert [(bundle.encoder.version, bundle.head.version) for bundle in taken] == [
        ("2", "1"),
        ("2", "2"),
        ("3", "3"),
    ]


def test_a_version_that_is_not_there_is_named_with_those_that_are(repository: Path) -> None:
    write_toy_repository(repository, labels=2, dimensions=8, version="4")

    with pytest.raises(ModelRepositoryError, match=r"interest_head has no version 3 \(it has 1, 4\): deploy"):
        load_bundle(repository, "3")


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = reason(tmp_path / "models")

    assert "interest_head has no version directory" in said
    assert "set INTERESTFLOW_MODEL__REPOSITORY" in said


def test_encoder_and_head_of_different_encoder_versions_are_refused(repository: Path) -> None:
    write_manifest(repository / ENCODER / "1", encoder_version="toy-2")

    assert (
        "encoder_version toy-2, but interest_head version 1 was trained on toy-1: they are no pair"
        in reason(repository)
    )


def test_a_copied_version_directory_is_refused(repository: Path) -> None:
    shutil.copytree(repository / HEAD / "1", repository / HEAD / "2")

    assert "is of interest_head version 1, not of interest_head version 2" in reason(repository)


@pytest.mark.parametrize("name", ["history_features", "user_features", "window_half_lives_days"])
def test_other_features_than_are_computed_here_are_refused(repository: Path, name: str) -> None:
    manifest = json.loads((repository / HEAD / "1" / "manifest.json").read_text())
    write_manifest(repository / HEAD / "1", **{name: manifest[name][::-1]})

    said = reason(repository)

    assert f"interest_head was trained on {name} {manifest[name][-1]}" in said
    assert "train it again with this release" in said


def test_labels_in_another_order_are_refused(repository: Path) -> None:
    change_labels(repository, lambda labels: labels["interests"].reverse())
    write_manifest(repository / HEAD / "1")

    assert "scores would be read under wrong names" in reason(repository)


def test_a_label_set_that_the_head_was_not_trained_with_is_refused(repository: Path) -> None:
    write_manifest(repository / HEAD / "1", label_set_hash="0" * 64)

    assert "the manifest 000000000000…" in reason(repository)


def test_two_interests_of_one_category_are_refused(repository: Path) -> None:
    def repeat(labels: dict[str, Any]) -> None:
        labels["interests"][2]["category"] = "fluid MILK"

    change_labels(repository, repeat)
    write_manifest(repository / HEAD / "1")

    assert "interests fluid-milk and cheese" in reason(repository)


@pytest.mark.parametrize(
    ("model", "name"), [(ENCODER, "tokenizer.json"), (ENCODER, "model.py"), (HEAD, "interest_vectors.npy")]
)
def test_an_altered_file_is_refused(repository: Path, model: str, name: str) -> None:
    path = repository / model / "1" / name
    path.write_bytes(path.read_bytes() + b" ")

    said = reason(repository)

    assert f"{path} has SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}…" in said
    assert "it was altered or is incomplete" in said


def test_a_missing_file_is_named(repository: Path) -> None:
    (repository / HEAD / "1" / "interest_vectors.npy").unlink()

    assert "interest_vectors.npy, which its manifest lists, is not there" in reason(repository)


def test_a_manifest_may_not_reach_outside_its_version(repository: Path) -> None:
    outside = repository / "outside"
    outside.write_bytes(b"x")
    write_manifest(repository / ENCODER / "1", files={"../../outside": hashlib.sha256(b"x").hexdigest()})
    listed = json.loads((repository / ENCODER / "1" / "manifest.json").read_text())
    tokenizer = (repository / ENCODER / "1" / "tokenizer.json").read_bytes()
    listed["files"]["tokenizer.json"] = hashlib.sha256(tokenizer).hexdigest()
    write_json(repository / ENCODER / "1" / "manifest.json", listed)

    assert "../../outside, which its manifest lists, is not there" in reason(repository)


def test_a_needed_file_without_a_hash_is_refused(repository: Path) -> None:
    write_manifest(repository / ENCODER / "1", files={})

    assert "lists no hash of tokenizer.json" in reason(repository)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "file: Invalid JSON"),
        ('{"model": "behaviour_encoder"}', "version: Field required"),
    ],
)
def test_a_manifest_of_another_form_is_refused(repository: Path, content: str, problem: str) -> None:
    (repository / ENCODER / "1" / "manifest.json").write_text(content)

    said = reason(repository)

    assert problem in said
    assert "restore the version from git" in said


def test_a_version_without_a_manifest_is_refused(repository: Path) -> None:
    (repository / HEAD / "1" / "manifest.json").unlink()

    assert "manifest.json can't be read (No such file or directory)" in reason(repository)


def test_buckets_that_do_not_hold_the_longest_text_are_refused(repository: Path) -> None:
    write_manifest(repository / ENCODER / "1", buckets=[16, 32])

    assert "buckets (16, 32) must rise and reach max_tokens 64" in reason(repository)


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (np.ones((2, 8), dtype=np.float16), "holds float16 [2, 8], labels.json has 3 interests"),
        (np.ones((3, 8), dtype=np.int64), "holds int64 [3, 8]"),
        (np.full((3, 8), 0.5, dtype=np.float16), "row 0"),
        (np.full((3, 8), np.nan, dtype=np.float16), "has length nan, a unit vector has 1"),
    ],
)
def test_interest_vectors_of_another_form_are_refused(
    repository: Path, vectors: NDArray[Any], problem: str
) -> None:
    np.save(repository / HEAD / "1" / "interest_vectors.npy", vectors)
    write_manifest(repository / HEAD / "1")

    assert problem in reason(repository)


def test_a_pickled_array_is_refused(repository: Path) -> None:
    path = repository / HEAD / "1" / "interest_vectors.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    write_manifest(repository / HEAD / "1")

    assert "is no plain NumPy array" in reason(repository)


def test_a_version_without_images_says_so(repository: Path) -> None:
    assert load_bundle(repository).fusion is None


def test_a_version_may_bring_a_projection_of_images(repository: Path) -> None:
    add_projection(repository / HEAD / "1", np.full((8, 5), 0.25), weight=0.5)

    fusion = load_bundle(repository).fusion

    assert fusion is not None
    assert (fusion.dimensions, fusion.weight) == (5, 0.5)
    assert fusion.projection.dtype == np.float32
    assert np.array_equal(fusion.projection, np.full((8, 5), 0.25))
    assert not fusion.projection.flags.writeable


@pytest.mark.parametrize(
    "projection", [np.ones((7, 5)), np.full((8, 5), np.nan), np.full((8, 5), 1e6), np.ones((8, 5, 1))]
)
def test_a_projection_of_another_form_is_refused(repository: Path, projection: NDArray[Any]) -> None:
    with np.errstate(over="ignore"):
        add_projection(repository / HEAD / "1", projection, weight=0.5)

    assert "image_projection.npy holds float16" in reason(repository)
    assert "it must be finite float16 [8, 5]" in reason(repository)


def test_a_projection_that_is_missing_or_altered_is_refused(repository: Path) -> None:
    add_projection(repository / HEAD / "1", np.ones((8, 5)), weight=0.5)
    path = repository / HEAD / "1" / "image_projection.npy"

    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "it was altered or is incomplete" in reason(repository)
    path.unlink()
    assert "image_projection.npy, which its manifest lists, is not there" in reason(repository)


def test_a_manifest_with_images_and_no_hash_of_the_projection_is_refused(repository: Path) -> None:
    write_manifest(repository / HEAD / "1", images={"dimensions": 5, "weight": 0.5})

    assert "lists no hash of image_projection.npy" in reason(repository)
