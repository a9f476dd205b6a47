"""A student of the real base on the texts of a made shop: a few steps, and everything that comes after them."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from typer.testing import CliRunner

from stream.archive.description import InterestChoice
from tests.shop_files import order_rows, write_shop
from trainer.cli import app
from trainer.copurchase import Lesson, make_lesson
from trainer.distill import DistillRecipe, cosine, evenly_spaced, fit_student, shown_texts
from trainer.distill_cli import student_of
from trainer.encoder import base_directory, encode, load_base, load_encoder, load_tokenizer
from trainer.errors import TrainerError
from trainer.events.importing import import_files
from trainer.events.mapping import read_mapping
from trainer.export import export_encoder
from trainer.fit_encoder import EncoderRecipe
from trainer.record import plan_samples, write_samples
from trainer.train import keep_encoder
from trainer.workspace import Workspace

pytestmark = pytest.mark.trainer
TEXTS = ["soft cheese", "green tea", "dog food", "white bread", "ground coffee", "apple juice"]


def lesson(unseen: list[int]) -> Lesson:
    fit = [row for row in range(len(TEXTS)) if row not in unseen]
    return Lesson(TEXTS, np.zeros((6, 1), np.float32), np.ones(6), np.array(fit), np.array(unseen))


@pytest.mark.parametrize(
    ("layers", "kept", "numbers"), [(6, 3, [0, 2, 5]), (6, 2, [0, 5]), (6, 1, [0]), (12, 4, [0, 4, 7, 11])]
)
def test_a_student_has_evenly_spaced_layers_of_its_teacher(
    layers: int, kept: int, numbers: list[int]
) -> None:
    assert evenly_spaced(layers, kept) == numbers


@pytest.mark.parametrize("kept", [0, 6, 7])
def test_a_student_that_is_not_smaller_is_refused(kept: int) -> None:
    with pytest.raises(TrainerError, match=rf"a student of {kept} layers is not smaller .* give 1 to 5"):
        evenly_spaced(6, kept)


def test_unseen_texts_are_shown_in_no_form() -> None:
    shown = shown_texts(lesson(unseen=[1, 2]), DistillRecipe(mixed=20.0))

    assert {"soft cheese", "white bread", "apple juice", "white loaf", "minced coffee"} <= set(shown)
    words = {word for text in shown for word in text.split()}
    assert not {"tea", "dog", "food"} & words
    assert any("cheese" in text and "coffee" in text for text in shown)  # mixed


def test_a_student_comes_nearer_to_its_teacher_and_one_seed_gives_one_student() -> None:
    teacher, tokenizer = load_base(base_directory()), load_tokenizer(base_directory())
    said = encode(teacher, tokenizer, TEXTS)
    recipe = DistillRecipe(fit=EncoderRecipe(steps=8, batch=6, warmup_steps=1, learning_rate=3e-4))
    told = []
    for _ in range(2):
        student = load_base(base_directory())
        student.keep_layers([0, 5])
        before = encode(student, tokenizer, TEXTS)
        fit_student(student, tokenizer, (TEXTS, said), recipe)
        told.append(encode(student, tokenizer, TEXTS))

    was, became = cosine(said, before), cosine(said, told[0])

    assert was is not None
    assert became is not None
    assert became["mean"] > was["mean"] + 0.05
    assert np.array_equal(told[0], told[1])
    assert cosine(said[:0], before[:0]) is None


@pytest.mark.timeout(600)  # trains twice, shortly, and exports
def test_what_follows_takes_the_student_for_any_encoder(tmp_path: Path) -> None:
    orders, mapping = write_shop(tmp_path, order_rows(users=60, weeks=19, categories=6))
    import_files([orders], read_mapping(mapping), tmp_path / "events")
    plan = plan_samples(tmp_path / "events", InterestChoice(min_buyers=5))
    write_samples(plan, tmp_path / "run" / "samples")
    teacher, out = Workspace(tmp_path / "run"), tmp_path / "student"
    keep_encoder(
        teacher,
        load_base(base_directory()),
        load_tokenizer(base_directory()),
        make_lesson(teacher.samples(), 0),
        image_weight=0.5,
    )
    teacher.save_json("train", {"settings": {"head.dropout": 0.2}})

    options = [
        "--work",
        str(teacher.directory),
        "--layers",
        "2",
        "--quick",
        "--json",
        str(tmp_path / "f.json"),
    ]
    told = CliRunner().invoke(app, ["distill", str(out), *options])

    assert told.exit_code == 0, told.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["encoder"]["layers"], figures["encoder"]["teacher_layers"]) == ([0, 5], 6)
    assert figures == Workspace(out).json("train")
    assert figures["settings"] == {"head.dropout": 0.2}
    student = load_encoder(base_directory(), Workspace(out).encoder_weights)
    assert student.layers == 2
    said = encode(student, load_tokenizer(base_directory()), Workspace(out).samples().texts)
    np.testing.assert_allclose(said, Workspace(out).vectors().texts, atol=1e-5)
    export_encoder(student, tmp_path / "encoder.onnx")  # refuses weights that were not rounded
    assert (tmp_path / "encoder.onnx").stat().st_size < 16_000_000  # 11.7 MB are word vectors
    assert load_encoder(base_directory(), teacher.encoder_weights).layers == 6


def test_a_student_does_not_replace_its_teacher_nor_take_other_samples(tmp_path: Path) -> None:
    teacher = Workspace(tmp_path / "run")
    teacher.samples_directory.mkdir(parents=True)
    (tmp_path / "other" / "samples").mkdir(parents=True)

    with pytest.raises(TrainerError, match="is the teacher's work directory"):
        student_of(teacher, tmp_path / "run")
    with pytest.raises(TrainerError, match="are other samples than the teacher's"):
        student_of(teacher, tmp_path / "other")
    linked = student_of(teacher, tmp_path / "student").samples_directory
    assert linked.resolve() == teacher.samples_directory.resolve()
    assert student_of(teacher, tmp_path / "student").samples_directory == linked
