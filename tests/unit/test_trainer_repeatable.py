"""One seed, one result: two runs of the same recipe on the same samples leave the same bytes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

import torch

import trainer.copurchase
import trainer.fit_encoder
from stream.archive.description import InterestChoice
from tests.shop_files import order_rows, write_shop
from trainer.copurchase import make_lesson
from trainer.errors import TrainerError
from trainer.events.importing import import_files
from trainer.events.mapping import read_mapping
from trainer.fit_encoder import EncoderRecipe
from trainer.fit_head import HeadRecipe
from trainer.progress import Progress, silent
from trainer.recipe import Recipe
from trainer.record import plan_samples, write_samples
from trainer.samples import Samples
from trainer.tracking import Untracked
from trainer.train import forget_run, train_encoder, train_head
from trainer.workspace import Workspace, make_repeatable

pytestmark = pytest.mark.trainer


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shop")
    orders, mapping = write_shop(directory, order_rows(users=60, weeks=19, categories=6))
    import_files([orders], read_mapping(mapping), directory / "events")
    plan = plan_samples(directory / "events", InterestChoice(min_buyers=5))
    return write_samples(plan, directory / "samples").directory


@pytest.fixture
def as_the_command_line() -> Iterator[None]:
    """Threads and algorithms as it sets them, and back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    make_repeatable(Recipe().threads)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def trained(directory: Path, samples: Path, seed: int) -> dict[str, bytes]:
    """What a run leaves, by file name; the arrays of archives, which hold times of their own."""
    directory.mkdir()
    work = Workspace(directory, samples)
    train_encoder(work, EncoderRecipe(steps=2, batch=8, warmup_steps=1, seed=seed), silent)
    train_head(work, HeadRecipe(epochs=1, batch=32, seed=seed), silent)
    found = {path.name: path.read_bytes() for path in directory.glob("*.safetensors")}
    for path in directory.glob("*.npz"):
        with np.load(path) as arrays:
            found |= {f"{path.name} {name}": array.tobytes() for name, array in arrays.items()}
    return found


@pytest.mark.timeout(600)  # trains twice
@pytest.mark.usefixtures("as_the_command_line")
def test_one_seed_gives_one_run_bit_for_bit(tmp_path: Path, samples: Path) -> None:
    first = trained(tmp_path / "first", samples, seed=3)
    torch.rand(7)  # what was drawn before doesn't matter
    again = trained(tmp_path / "again", samples, seed=3)

    assert {"encoder.safetensors", "head.safetensors", "vectors.npz texts"} <= first.keys()
    assert [name for name, content in first.items() if again[name] != content] == []


class KilledError(Exception):
    """In the middle of a step."""


class Losses(Untracked):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def losses(self, name: str) -> Callable[[float], None]:
        del name
        return self.told.append


def killed_after(steps: int) -> Progress:
    left = iter(range(steps))

    def begin(title: str, total: int) -> Callable[[int], None]:
        del title, total

        def advance(_done: int) -> None:
            if next(left, None) is None:
                raise KilledError

        return advance

    return begin


@pytest.mark.timeout(600)  # trains twice
@pytest.mark.usefixtures("as_the_command_line")
def test_an_encoder_that_was_killed_goes_on_to_the_same_bytes(
    tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer.fit_encoder, "_KEPT_EVERY", 2)
    recipe = EncoderRecipe(steps=5, batch=8, warmup_steps=1)
    whole, killed = (Workspace(tmp_path / name, samples) for name in ("whole", "killed"))
    for work in (whole, killed):
        work.directory.mkdir()
    told = train_encoder(whole, recipe, silent)

    with pytest.raises(KilledError):
        train_encoder(killed, recipe, killed_after(3))
    torch.rand(7)
    tracking = Losses()
    resumed = train_encoder(killed, recipe, silent, tracking, resume=True)

    assert resumed == told
    assert len(tracking.told) == recipe.steps  # those from before the kill among them
    assert killed.encoder_weights.read_bytes() == whole.encoder_weights.read_bytes()
    with pytest.raises(TrainerError, match="was made by another recipe"):
        train_encoder(killed, replace(recipe, learning_rate=0.5), silent, resume=True)

    forget_run(killed)

    with pytest.raises(TrainerError, match="nothing to go on from: leave out --resume"):
        train_encoder(killed, recipe, silent, resume=True)


def test_of_a_large_range_the_texts_that_are_bought_most_teach(
    samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer.copurchase, "_MOST_TEXTS", 10)
    monkeypatch.setattr(trainer.copurchase, "_MIN_PURCHASES", 1)
    made = Samples(samples)
    bought = np.bincount(made.fit_purchases(made.calendar.validation).text, minlength=len(made.texts))

    lesson = make_lesson(made, seed=0)

    taught = np.flatnonzero(np.abs(lesson.teacher[: len(made.texts)]).sum(axis=1))
    rest = np.setdiff1d(np.arange(len(made.texts)), taught)
    assert len(taught) == 10
    assert bought[taught].min() >= bought[rest].max()
    shown = np.concatenate([lesson.fit, lesson.unseen])
    assert set(shown[shown < len(made.texts)].tolist()) == set(taught.tolist())


@pytest.mark.parametrize(("chosen", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_leave_the_cores_to_others(chosen: dict[str, str], policy: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}

    started = subprocess.run(
        [sys.executable, "-c", "import trainer.workspace"],
        env={**environment, **chosen, "OMP_DISPLAY_ENV": "TRUE"},
        capture_output=True,
        text=True,
        check=True,
    )

    told = [line for line in started.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    assert told
    assert all(policy in line for line in told)
