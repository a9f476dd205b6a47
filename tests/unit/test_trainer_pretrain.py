"""Pre-training on made sequences in which each behaviour follows from the one before it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.kills import KilledError, killed_after

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from trainer.augmentation import Behaviours  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402
from trainer.ranking import Question  # noqa: E402
from trainer.unsupervised.behaviour_network import ENCODERS, EncoderName  # noqa: E402
from trainer.unsupervised.pretrain import (  # noqa: E402
    OBJECTIVES,
    Lesson,
    Objective,
    PretrainRecipe,
    new_network,
    pretrain,
)
from trainer.unsupervised.pretrain_score import Asked, interval, next_interests, score  # noqa: E402
from trainer.unsupervised.sequences import padded  # noqa: E402

pytestmark = pytest.mark.trainer
TEXTS, PLACES = 5, 8
HOUR_MS = 3_600_000


def window(first: int, length: int) -> Behaviours:
    """Texts in a ring, an hour apart."""
    return Behaviours(
        (first + np.arange(length)) % TEXTS,
        np.full(length, 9, dtype=np.uint8),
        np.arange(length, dtype=np.int64) * HOUR_MS,
    )


def lesson(users: int = 40) -> Lesson:
    windows = [window(user, 3 + user % (PLACES - 2)) for user in range(users)]
    return Lesson(padded(np.arange(users), windows, PLACES), torch.eye(TEXTS), torch.arange(TEXTS), TEXTS)


def recipe(objective: Objective = "next", encoder: EncoderName = "transformer") -> PretrainRecipe:
    return PretrainRecipe(objective, encoder, steps=60, batch=16, look_every=10, learning_rate=1e-2)


def test_the_latest_places_are_kept_with_the_time_between_them() -> None:
    found = padded(np.array([7]), [window(0, 10)], 4)

    assert found.texts.tolist() == [[1, 2, 3, 4]]
    assert found.gaps.tolist() == [[0.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_network_guesses_better_with_time(
    tmp_path: Path, objective: Objective, encoder: EncoderName
) -> None:
    _, figures = pretrain(lesson(), replace(recipe(objective, encoder), steps=30), tmp_path / "run.pt")

    losses = [loss for _, loss in figures["curve"]]
    assert min(losses) < losses[0]


def test_what_always_follows_is_learnt(tmp_path: Path) -> None:
    network, _ = pretrain(lesson(), recipe("next", "gru"), tmp_path / "run.pt")

    asked = padded(np.arange(4), [window(first, 5) for first in range(4)], PLACES)

    # Five behaviours on, the ring begins again.
    assert next_interests(network, asked).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_no_place_sees_what_comes_after_it() -> None:
    network = new_network(lesson(), recipe("next")).eval()
    seen = padded(np.arange(2), [window(0, 8), window(0, 8)], PLACES)
    seen.texts[1, 4:] = 0

    states = network(seen)

    assert torch.allclose(states[0, :4], states[1, :4], atol=1e-6)
    assert not torch.allclose(states[0, 4:], states[1, 4:], atol=1e-3)


def test_a_hidden_behaviour_is_not_seen() -> None:
    network = new_network(lesson(), recipe("masked")).eval()
    seen = padded(np.arange(2), [window(0, 8), window(0, 8)], PLACES)
    seen.texts[1, 3] = 0
    hidden = torch.zeros(2, PLACES, dtype=torch.bool)
    hidden[:, 3] = True

    states = network(seen, hidden)

    assert torch.allclose(states[0], states[1], atol=1e-6)


def test_a_full_window_makes_room_for_what_comes_behind() -> None:
    network = new_network(lesson(), recipe("masked")).eval()
    full, shorter = (padded(np.arange(1), [window(2, length)], PLACES) for length in (8, 5))

    assert np.isfinite(next_interests(network, full)).all()
    assert np.isfinite(next_interests(network, shorter)).all()


def test_one_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    runs = [
        pretrain(lesson(), replace(recipe(), seed=seed), tmp_path / f"{number}.pt")[0].state_dict()
        for number, seed in enumerate((0, 0, 1))
    ]

    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


@pytest.mark.parametrize("encoder", ["transformer", "gru"])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, encoder: EncoderName) -> None:
    asked = recipe("masked", encoder)

    with pytest.raises(KilledError):
        pretrain(lesson(), asked, tmp_path / "killed.pt", advance=killed_after(25))
    resumed, _ = pretrain(lesson(), asked, tmp_path / "killed.pt", resume=True)
    whole, _ = pretrain(lesson(), asked, tmp_path / "whole.pt")

    weights = whole.state_dict()
    assert all(torch.equal(weights[name], again) for name, again in resumed.state_dict().items())


def test_training_stops_when_the_watched_loss_gets_no_better(tmp_path: Path) -> None:
    # Steps this long only do harm.
    _, figures = pretrain(lesson(), replace(recipe(), learning_rate=5.0, steps=500), tmp_path / "run.pt")

    assert figures["steps"] < 500


def test_there_is_nothing_to_go_on_from_without_a_run_or_with_another_recipe(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(TrainerError, match="nothing to go on from: leave out --resume"):
        pretrain(lesson(), recipe(), path, resume=True)
    pretrain(lesson(), replace(recipe(), steps=10), path)
    with pytest.raises(TrainerError, match="another recipe"):
        pretrain(lesson(), recipe(), path, resume=True)


def test_the_score_says_what_each_model_ranks_first(tmp_path: Path) -> None:
    given = lesson()
    network, _ = pretrain(given, recipe(), tmp_path / "run.pt")
    users = len(given.sequences.households)
    bought = np.zeros((users, TEXTS), dtype=np.bool_)
    bought[:, 0] = True
    question = Question(bought, np.ones_like(bought), np.ones(users, dtype=np.bool_))
    right = bought.astype(np.float32)
    asked = Asked(given.sequences, {"all": question, "novel8": question}, {"right": right}, right * 100)

    found = score(network, asked, asked)

    assert found["all"]["right"] == 1.0  # type: ignore[index]
    assert found["all"]["network_and_own_counts"] == 1.0  # type: ignore[index]
    assert found["all"]["network"] < 1.0  # type: ignore[index]
    assert found["all"]["difference_ci"] == [0.0, 0.0]  # type: ignore[index]


def test_an_interval_of_one_value_is_that_value() -> None:
    assert interval(np.full(9, 0.25), 0) == [0.25, 0.25]
