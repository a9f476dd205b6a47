"""What ``interestflow doctor`` says of an image catalogue; no server is asked."""

from pathlib import Path

import numpy as np
import pytest

from stream.doctor import examine_images
from stream.model.repository import HEAD, ModelBundle, load_bundle
from stream.setting_sections import ModelSettings
from stream.settings import Settings
from tests.toy_repository import add_projection, write_toy_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_toy_repository(tmp_path / "models", labels=3, dimensions=8)


def said(bundle: ModelBundle, images: Path | None) -> list[tuple[bool, str]]:
    findings = examine_images(Settings(model=ModelSettings(images=images)), bundle)
    return [(finding.ok, finding.text) for finding in findings]


def catalogue(path: Path, numbers: int) -> Path:
    np.savez(path, image_ids=["cup"], vectors=np.ones((1, numbers)))
    return path


def test_without_a_catalogue_there_is_nothing_to_say(repository: Path) -> None:
    assert said(load_bundle(repository), None) == []


def test_a_catalogue_that_fits_is_used(repository: Path, tmp_path: Path) -> None:
    add_projection(repository / HEAD / "1", np.ones((8, 5)), weight=0.5)
    images = catalogue(tmp_path / "images.npz", 5)

    assert said(load_bundle(repository), images) == [
        (True, f"the 1 images of {images} are fused with the items' texts")
    ]


def test_a_version_that_takes_no_images_is_told(repository: Path, tmp_path: Path) -> None:
    images = catalogue(tmp_path / "images.npz", 5)

    assert said(load_bundle(repository), images) == [
        (True, f"the 1 images of {images} are not used: the version was trained on texts alone")
    ]


def test_a_catalogue_that_is_missing_or_does_not_fit_is_a_fault(repository: Path, tmp_path: Path) -> None:
    add_projection(repository / HEAD / "1", np.ones((8, 5)), weight=0.5)
    bundle = load_bundle(repository)

    (missing,), (other,) = (
        said(bundle, tmp_path / "none.npz"),
        said(bundle, catalogue(tmp_path / "images.npz", 4)),
    )

    assert not missing[0]
    assert "is no image catalogue" in missing[1]
    assert not other[0]
    assert "has vectors of 4 numbers, version 1 takes 5" in other[1]
