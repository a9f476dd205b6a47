import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainer.publish
from stream.fusing import Fusion
from stream.model.repository import load_bundle, newest_version, versions
from trainer.errors import ExportError
from trainer.interests import LabelSet
from trainer.publish import Retention, Version, publish

ROOT = Path(__file__).parents[2]
MODELS = ("behaviour_encoder", "interest_head")
#: What changes the names on a disk, and may be the last thing that a killed process did.
CHANGES = frozenset({"os.mkdir", "os.rename", "os.rmdir", "shutil.rmtree"})


@pytest.fixture
def version(tmp_path: Path) -> Version:
    files = {name: tmp_path / name for name in ("encoder.onnx", "head.onnx", "tokenizer.json")}
    for name, path in files.items():
        path.write_text(name)
    return Version(
        encoder_onnx=files["encoder.onnx"],
        head_onnx=files["head.onnx"],
        tokenizer=files["tokenizer.json"],
        vocabulary=100,
        labels=LabelSet(["cheese", "soft drinks"]),
        interest_vectors=np.eye(2, 384, dtype=np.float32),
        record={"data": {"name": "made up"}},
        ad_response={"features": ["a"], "weights": [1.0], "bias": 0.0},
    )


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote; only the machine's end would."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def with_encoder(version: Version, text: str) -> Version:
    path = version.encoder_onnx.with_name(f"{text}.onnx")
    path.write_text(text)
    return replace(version, encoder_onnx=path)


def killed_at(count: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that kills itself before its so-manieth change of names; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = count

        def count_down(event: str, _: tuple[Any, ...]) -> None:
            nonlocal left
            if event in CHANGES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count_down)
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def intact(version: Path) -> bool:
    listed = json.loads((version / "manifest.json").read_text())["files"]
    return all(sha256((version / name).read_bytes()).hexdigest() == value for name, value in listed.items())


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


def test_a_version_gets_the_next_free_number_and_its_predecessor_stays(
    version: Version, tmp_path: Path
) -> None:
    repository = tmp_path / "models"

    numbers = [publish(repository, with_encoder(version, text)).number for text in ("a", "b")]

    assert numbers == [1, 2]
    assert [versions(repository / model) for model in MODELS] == [["1", "2"], ["1", "2"]]
    assert load_bundle(repository).head.version == "2"
    assert load_bundle(repository, "1").encoder.version == "1"


def test_only_the_newest_versions_are_kept(version: Version, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    for text in ("a", "b"):
        publish(repository, with_encoder(version, text))

    published = publish(repository, with_encoder(version, "c"))

    assert published.removed == (1,)
    assert [versions(repository / model) for model in MODELS] == [["2", "3"], ["2", "3"]]


def test_more_versions_are_kept_if_asked_for(version: Version, tmp_path: Path) -> None:
    for _ in range(3):
        publish(tmp_path / "models", version, Retention(keep=3))

    assert versions(tmp_path / "models" / "interest_head") == ["1", "2", "3"]


def test_an_encoder_that_a_kept_head_calls_is_never_removed(version: Version, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    for _ in range(4):  # one encoder, four times
        publish(repository, version)

    assert [versions(repository / model) for model in MODELS] == [["3", "4"], ["3", "4"]]
    assert load_bundle(repository, "3").encoder.version == "4"


def test_keeping_no_predecessor_is_refused() -> None:
    with pytest.raises(ExportError, match="keep 1 would delete the version that a rollback goes back to"):
        Retention(keep=1)


def test_a_version_is_refused_that_would_push_a_pinned_one_out_of_service(
    version: Version, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    for _ in range(2):
        publish(repository, version)

    with pytest.raises(ExportError, match=r"version 1 scores users, .* would serve only versions \[2, 3\]"):
        publish(repository, version, Retention(pinned=frozenset({1})))

    assert versions(repository / "interest_head") == ["1", "2"]


def test_a_pinned_version_that_is_not_there_is_refused(version: Version, tmp_path: Path) -> None:
    publish(tmp_path / "models", version)

    with pytest.raises(ExportError, match=r"version 7 is pinned, but .* see `interestflow model status`"):
        publish(tmp_path / "models", version, Retention(pinned=frozenset({7})))


def test_labels_of_another_size_do_not_go_beside_a_version_that_stays(
    version: Version, tmp_path: Path
) -> None:
    publish(tmp_path / "models", version)
    wider = replace(version, labels=LabelSet(["beef", "cheese", "soft drinks"]))

    with pytest.raises(ExportError, match=r"interest_head has other inputs than version 1, .* of its own"):
        publish(tmp_path / "models", wider)

    assert versions(tmp_path / "models" / "interest_head") == ["1"]


def test_nothing_is_left_beside_the_repository(version: Version, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())

    for _ in range(3):
        publish(tmp_path / "models", version)

    assert set(tmp_path.iterdir()) - before == {tmp_path / "models"}


def test_two_publications_at_a_time_are_refused(version: Version, tmp_path: Path) -> None:
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)

    with pytest.raises(ExportError, match="another process publishes into"):
        publish(tmp_path / "models", version)

    os.close(holder)


@pytest.mark.usefixtures("no_sync")
def test_a_kill_at_any_change_leaves_the_old_or_the_new_repository(version: Version, tmp_path: Path) -> None:
    for text in ("oldest", "old"):
        publish(tmp_path / "models", with_encoder(version, text))
    new = with_encoder(version, "new")
    seen = set()
    for count in range(500):
        repository = tmp_path / f"{count}" / "models"
        shutil.copytree(tmp_path / "models", repository)

        if not killed_at(count, partial(publish, repository, new)):
            break

        bundle = load_bundle(repository)
        seen.add(bundle.head.version)
        assert all(intact(path) for model in MODELS for path in (repository / model).glob("[1-9]*"))
        after = publish(repository, new)  # the next one is not in its way
        assert load_bundle(repository).head.version == str(after.number)
        assert set(repository.parent.iterdir()) == {repository}
    else:
        pytest.fail("it never came to its end")
    assert seen == {"2", "3"}


@pytest.mark.usefixtures("no_sync")
def test_a_kill_during_the_first_publication_leaves_no_repository_or_a_whole_one(
    version: Version, tmp_path: Path
) -> None:
    seen = set()
    for count in range(500):
        repository = tmp_path / f"{count}" / "models"

        if not killed_at(count, partial(publish, repository, version)):
            break

        seen.add(repository.exists())
        if repository.exists():
            load_bundle(repository)
            assert (repository / "behaviour_encoder" / "config.pbtxt").exists()
        publish(repository, version)
    assert False in seen


def test_every_file_is_on_the_disk_before_anything_is_renamed(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "models", version)
    done: list[str] = []
    rename = Path.rename

    def sync(opened: int) -> None:
        done.append(Path(f"/proc/self/fd/{opened}").readlink().name)

    def renamed(path: Path, to: Path) -> Path:
        done.append("rename")
        return rename(path, to)

    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr(Path, "rename", renamed)

    publish(tmp_path / "models", version)

    before = done[: done.index("rename")]
    files = [path.name for path in tmp_path.glob("models/*/2/*")]
    assert len(files) == 10
    assert all(before.count(name) == files.count(name) for name in files)
    assert done[-1] == tmp_path.name


def test_a_version_that_is_not_there_is_told_with_those_that_are(version: Version, tmp_path: Path) -> None:
    publish(tmp_path / "models", version)

    with pytest.raises(ExportError, match=r"has no version 9: it has \[1\]; name one of them"):
        trainer.publish.read_manifest(tmp_path / "models", 9)


@pytest.mark.parametrize("model", MODELS)
def test_the_served_file_is_the_one_in_the_trainer(model: str) -> None:
    served = newest_version(ROOT / "triton_models" / model) / "model.py"

    assert served.read_text() == (ROOT / "trainer" / "triton_model.py").read_text()


def test_the_shipped_version_is_small_and_fits_this_release() -> None:
    repository = ROOT / "triton_models"

    bundle = load_bundle(repository)

    assert bundle.labels == 268
    size = sum(
        path.stat().st_size
        for model in (bundle.encoder, bundle.head)
        for path in (repository / model.name / model.version).iterdir()
        if path.is_file()
    )
    assert size <= 25_000_000


def test_a_version_with_images_is_read_as_it_was_written(tmp_path: Path, version: Version) -> None:
    drawn = np.random.default_rng(1).normal(size=(384, 5))
    fusion = Fusion(drawn.astype(np.float16).astype(np.float32), 0.75)

    publish(tmp_path / "models", replace(version, fusion=fusion))
    publish(tmp_path / "models", version)

    found = load_bundle(tmp_path / "models", "1").fusion
    assert found is not None
    assert np.array_equal(found.projection, fusion.projection)
    assert found.weight == 0.75
    card = (tmp_path / "models" / "interest_head" / "1" / "model_card.md").read_text()
    assert "| images | of 5 numbers, weight 0.75 against the text |" in card
    assert load_bundle(tmp_path / "models", "2").fusion is None
