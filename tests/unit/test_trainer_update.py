"""An update of a made shop's version: what it starts from, what it keeps, and what it is held against."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

import trainer.models  # noqa: E402
import trainer.stages  # noqa: E402
import trainer.update  # noqa: E402
from stream.model.repository import load_bundle  # noqa: E402
from stream.render import appearance  # noqa: E402
from tests.made_samples import REPOSITORY, write_made_samples  # noqa: E402
from tests.toy_repository import add_projection  # noqa: E402
from tests.unit.test_trainer_head import head, tables  # noqa: E402
from trainer.ads import assumed_response  # noqa: E402
from trainer.cli import app  # noqa: E402
from trainer.encoder import base_directory, load_tokenizer  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402
from trainer.export import export_head, round_to_half  # noqa: E402
from trainer.fit_head import HeadRecipe, fit_scaling  # noqa: E402
from trainer.handover import WEIGHTS, handover_files, load_weights, save_handover, save_weights  # noqa: E402
from trainer.head import HeadShape, InterestHead  # noqa: E402
from trainer.images import kept_fusion  # noqa: E402
from trainer.models import Models  # noqa: E402
from trainer.progress import silent  # noqa: E402
from trainer.publish import Version, publish, read_manifest  # noqa: E402
from trainer.report.scored import Scored  # noqa: E402
from trainer.rows import SplitReader, TextVectors, training_rows  # noqa: E402
from trainer.samples import Purchases, images_path, purchases_path  # noqa: E402
from trainer.stages import Evaluation  # noqa: E402
from trainer.update import UpdateRecipe, require_same_interests, update_head  # noqa: E402
from trainer.workspace import Workspace  # noqa: E402

pytestmark = pytest.mark.trainer
SHAPE = HeadShape(hidden=8)
GAP = {"vectors": 1e-6, "scores": 0.0, "top10_agreement": None}


def vectors(count: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    drawn = np.random.default_rng(0).normal(size=(count, 384)).astype(np.float32)
    unit: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = drawn / np.linalg.norm(
        drawn, axis=1, keepdims=True
    )
    return unit


@pytest.fixture(autouse=True)
def quick_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of the made shop is an interest's name; encoding them all would take most of the test's time."""
    # Too few shoppers for figures by interest.
    monkeypatch.setattr(trainer.update, "measure_head", lambda *_: "measured")
    for module in (trainer.models, trainer.update):
        monkeypatch.setattr(module, "encode_texts", lambda _model, _tokenizer, texts, *_: vectors(len(texts)))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The run of the first version."""
    made = Workspace(tmp_path_factory.mktemp("first"))
    write_made_samples(made.samples_directory)
    _have_every_interest_bought(made)
    shutil.copyfile(next((REPOSITORY / "behaviour_encoder").glob("*/model.onnx")), made.encoder_onnx)
    return made


@pytest.fixture
def work(first: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work", first.samples_directory)


def _have_every_interest_bought(work: Workspace) -> None:
    """Once, long ago, by one who may be learnt from: tables ask for it, as real samples are checked for it."""
    samples = work.samples()
    purchases, count = samples.purchases(), len(samples.labels)
    buyer = np.full(count, np.flatnonzero(samples.fitted)[0], dtype=np.int32)
    rows = np.arange(count, dtype=np.int32)
    early = Purchases(buyer, rows, rows, rows, np.full(count, purchases.at_seconds[0] - 86_400))
    all_of_them = Purchases(
        *(np.concatenate([one, other]) for one, other in zip(early, purchases, strict=True))
    )
    path = purchases_path(work.samples_directory)
    np.savez(path, **all_of_them._asdict(), received_seconds=all_of_them.at_seconds)


@pytest.fixture(scope="module")
def repository(first: Workspace) -> Path:
    """A version that was trained for no step."""
    work, samples, out = first, first.samples(), first.directory / "models"
    names = vectors(len(samples.labels)).astype(np.float16).astype(np.float32)
    work.save_vectors(TextVectors(vectors(len(samples.texts)), names))
    reader = SplitReader(samples, work.vectors())
    torch.manual_seed(0)
    untrained = InterestHead(reader.tables(samples.calendar.validation), names, SHAPE)
    newest = reader.read_fit(most=1)
    fit_scaling(untrained, training_rows(newest, [], reader.read_acts(newest, 0)))
    round_to_half(untrained)
    save_handover(work, samples, untrained)
    untrained.eval()
    export_head(untrained, len(samples.labels), work.head_onnx)
    base = base_directory()
    publish(
        out,
        Version(
            encoder_onnx=work.encoder_onnx,
            head_onnx=work.head_onnx,
            tokenizer=base / "tokenizer.json",
            vocabulary=load_tokenizer(base).get_vocab_size(),
            labels=samples.labels,
            interest_vectors=names,
            record={"parity": {"pytorch_onnx": {"behaviour_encoder": GAP, "interest_head": GAP}}},
            ad_response=assumed_response(),
            handover=handover_files(work),
        ),
    )
    return out


def recipe(weeks: int = 2) -> UpdateRecipe:
    return UpdateRecipe(HeadRecipe(epochs=1, batch=16, learning_rate=5e-4, shape=SHAPE), weeks)


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    kept, other = head(seed=0), head(seed=1)
    round_to_half(kept)
    save_weights(kept, tmp_path / WEIGHTS)

    load_weights(other, tmp_path / WEIGHTS)

    handed = {name: tensor for name, tensor in kept.named_parameters() if not name.startswith("intent.")}
    for name, tensor in handed.items():
        assert torch.equal(tensor, dict(other.named_parameters())[name]), name


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    save_weights(head(), tmp_path / WEIGHTS)
    larger = InterestHead(tables(), vectors(6), HeadShape(hidden=16))

    with pytest.raises(
        TrainerError, match=r"network\.layers\.0\.weight is \[8, \d+\], \[16, \d+\] is asked.*make model"
    ):
        load_weights(larger, tmp_path / WEIGHTS)


def test_a_version_without_weights_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="earlier release; train a new one with `make model`"):
        load_weights(head(), tmp_path / WEIGHTS)


def test_an_update_keeps_the_encoder_and_moves_the_head(work: Workspace, repository: Path) -> None:
    encoder = (repository / "behaviour_encoder" / "1" / "model.onnx").read_bytes()

    figures = update_head(work, repository, recipe(), silent)

    start, found = head_of(work), head_of(work)
    load_weights(start, repository / "interest_head" / "1" / WEIGHTS)
    assert work.encoder_onnx.read_bytes() == encoder
    assert not torch.equal(start.network.layers[0].weight, found.network.layers[0].weight)
    assert torch.equal(start.mean, found.mean)
    assert figures["continued_from"] == "1"
    assert len(figures["weeks"]) == 2
    assert (figures["validation_before"], figures["validation"]) == ("measured", "measured")
    assert work.json("export")["behaviour_encoder"] == GAP
    assert work.json("export")["interest_head"]["scores"] < 1e-4
    assert set(handover_files(work)) == {"weights.safetensors", "drift_reference.npz"}


def head_of(work: Workspace) -> InterestHead:
    return work.head(SHAPE)


def test_a_version_is_evaluated_where_nothing_was_trained(
    first: Workspace, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained = Workspace(tmp_path / "untrained")
    shutil.copytree(first.samples_directory, untrained.samples_directory)
    asked: list[Models] = []

    def evaluate(_work: Workspace, models: Models, *_: object, **__: object) -> Evaluation:
        asked.append(models)
        return Evaluation({}, {}, {}, Scored([], {}, []))

    # Too few shoppers for the rivals.
    monkeypatch.setattr(trainer.stages, "evaluate", evaluate)

    # As `make evaluate` has it: samples, and a published version.
    found = CliRunner().invoke(
        app, ["evaluate", "--work", str(untrained.directory), "--repository", str(repository)]
    )

    assert found.exit_code == 0, found.output
    assert asked[0].vectors.texts.shape == (len(untrained.samples().texts), 384)
    assert not untrained.encoder_onnx.exists()


def test_an_update_gives_the_same_again(
    work: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer.update, "_export", lambda *_: None)
    update_head(work, repository, recipe(), silent)
    once = head_of(work).state_dict()

    update_head(work, repository, recipe(), silent)

    for name, tensor in head_of(work).state_dict().items():
        assert torch.equal(tensor, once[name]), name


def test_an_update_of_a_version_with_images_goes_on_with_them(
    first: Workspace, repository: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(repository, models)
    add_projection(models / "interest_head" / "1", vectors(3).T, weight=0.5)
    plain, named = (Workspace(tmp_path / name, tmp_path / f"{name}-samples") for name in ("plain", "named"))
    for made in (plain, named):
        shutil.copytree(first.samples_directory, made.samples_directory)
    described = named.samples_directory / "samples.json"
    document = json.loads(described.read_text(encoding="utf-8"))
    document["texts"][0] = appearance(document["texts"][0], "cup")
    described.write_text(json.dumps(document), encoding="utf-8")
    np.savez(images_path(named.samples_directory), image_ids=["cup"], vectors=np.ones((1, 3)))

    update_head(named, models, recipe(weeks=1), silent)

    fusion = load_bundle(models).fusion
    kept = kept_fusion(named.directory)
    texts = vectors(len(named.samples().texts))
    assert fusion is not None
    assert kept is not None
    assert np.array_equal(kept.projection, fusion.projection)
    assert kept.weight == 0.5
    changed = np.flatnonzero((named.vectors().texts != texts).any(axis=1))
    assert changed.tolist() == [0]
    with pytest.raises(TrainerError, match="takes images of 3 numbers, and the samples have none"):
        update_head(plain, models, recipe(weeks=1), silent)


def test_samples_of_other_interests_are_refused(first: Workspace) -> None:
    manifest = {"version": "4", "label_set_hash": "of 267"}

    with pytest.raises(
        TrainerError, match=r"268 interests that are not those of version 4.*--interests-of models"
    ):
        require_same_interests(first.samples(), manifest, Path("models"))


def test_what_an_update_leaves_is_published_beside_the_head(repository: Path) -> None:
    files = read_manifest(repository)["files"]

    assert {"weights.safetensors", "drift_reference.npz"} <= set(files)
    assert (repository / "interest_head" / "1" / WEIGHTS).stat().st_size < 100_000


def test_the_recipe_of_an_update_is_shorter_than_one_from_nothing() -> None:
    assert UpdateRecipe().head == replace(HeadRecipe(), epochs=1, learning_rate=5e-4)


SCHEDULE = REPOSITORY.parent / "deploy" / "schedule" / "update-cronjob.yaml"


def test_the_scheduled_commands_are_ones_that_the_command_line_knows() -> None:
    job = yaml.safe_load(SCHEDULE.read_text(encoding="utf-8"))
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]

    for container in (*pod["initContainers"], *pod["containers"]):
        # Options are read before the help is shown.
        assert CliRunner().invoke(app, [*container["args"], "--help"]).exit_code == 0, container["args"]

    refused = CliRunner().invoke(app, ["update", "--if-drifting", "--help"])
    assert refused.exit_code == 2
    assert [container["args"][0] for container in pod["initContainers"]] == ["samples"]
    assert pod["containers"][0]["args"][:2] == ["update", "--if-drifted"]
