"""Contrastive learning and the linear probe, on made windows of users with aisles of their own."""

from dataclasses import replace
from math import e, log
from pathlib import Path

import numpy as np
import pytest

from tests.kills import KilledError, killed_after
from tests.made_samples import REPOSITORY, write_made_samples

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from trainer.augmentation import Behaviours, Substitutes, one_of  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402
from trainer.samples import Samples, cutoff_path  # noqa: E402
from trainer.unsupervised.contrast import (  # noqa: E402
    ContrastRecipe,
    Pairs,
    fit_contrast,
    new_contrast,
    nt_xent,
    user_states,
)
from trainer.unsupervised.contrast_cli import _augmentations, _judge  # noqa: E402
from trainer.unsupervised.linear_probe import Bought, Vectors, probe  # noqa: E402
from trainer.unsupervised.sequences import padded  # noqa: E402

pytestmark = pytest.mark.trainer
USERS, PLACES, TEXTS = 24, 8, 12
RECIPE = ContrastRecipe(("crop", "mask", "reorder"), steps=60, batch=12, learning_rate=5e-3)


def pairs() -> Pairs:
    draw = np.random.default_rng(0)
    windows = [
        Behaviours(
            user % 6 * 2 + draw.integers(0, 2, PLACES),
            np.zeros(PLACES, dtype=np.uint8),
            np.arange(PLACES, dtype=np.int64),
        )
        for user in range(2 * USERS)
    ]
    households = np.arange(2 * USERS) % USERS
    alter = one_of(RECIPE.augmentations, Substitutes([], []))
    return Pairs(households, windows, alter, torch.eye(TEXTS), PLACES)


def test_a_partner_that_lies_together_among_others_at_right_angles() -> None:
    corners = torch.eye(2)

    assert float(nt_xent(corners, corners, 1.0)) == pytest.approx(log(e + 2) - 1)


def test_users_of_one_aisle_come_to_lie_together(tmp_path: Path) -> None:
    given = pairs()

    network, figures = fit_contrast(given, RECIPE, tmp_path / "run.pt")

    vectors = user_states(network, padded(given.households, given.windows, PLACES))
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    aisle = np.arange(2 * USERS) % 6
    same = (aisle[:, None] == aisle) & ~np.eye(2 * USERS, dtype=np.bool_)
    assert cosine[same].mean() > cosine[aisle[:, None] != aisle].mean() + 0.3
    assert figures["steps"] == 60


def test_a_run_goes_on_to_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        fit_contrast(pairs(), RECIPE, tmp_path / "killed.pt", advance=killed_after(55))
    resumed, _ = fit_contrast(pairs(), RECIPE, tmp_path / "killed.pt", resume=True)
    whole, _ = fit_contrast(pairs(), RECIPE, tmp_path / "whole.pt")
    other, _ = fit_contrast(pairs(), replace(RECIPE, seed=1), tmp_path / "other.pt")

    weights, others = whole.state_dict(), other.state_dict()
    assert all(torch.equal(weights[name], again) for name, again in resumed.state_dict().items())
    assert any(not torch.equal(weights[name], others[name]) for name in weights)


def test_the_probe_sees_what_vectors_know() -> None:
    draw = np.random.default_rng(0)
    fit, asked = (draw.random((200, 3)) < 0.5 for _ in range(2))
    telling = Vectors(fit.astype(np.float32), asked.astype(np.float32))
    noise = Vectors(*(draw.normal(size=(200, 4)).astype(np.float32) for _ in range(2)))

    found = probe({"telling": telling, "noise": noise}, Bought(fit, asked), "noise")

    assert found["1d"]["telling"]["auc"] == 1.0
    assert 0.35 < found["7d"]["noise"]["auc"] < 0.65  # type: ignore[operator]
    assert found["3d"]["telling"]["difference_ci"][0] > 0.2  # type: ignore[index]
    assert found["3d"]["noise"]["difference_ci"] == [0.0, 0.0]


def test_users_whose_window_is_empty_are_left_out_of_the_probe_and_counted(tmp_path: Path) -> None:
    write_made_samples(tmp_path)
    samples = Samples(tmp_path)
    emptied = np.flatnonzero(samples.fitted)[:5]
    for day in (*samples.calendar.fit_cutoffs(), samples.calendar.validation):
        snapshot = samples.snapshot(day)
        snapshot.window_texts[emptied] = -1
        np.savez(cutoff_path(tmp_path, day), **snapshot._asdict())
    vectors = torch.nn.functional.normalize(torch.randn(len(samples.texts), 384), dim=1)
    places = snapshot.window_texts.shape[1]
    given = Pairs(emptied, [], one_of(RECIPE.augmentations, Substitutes([], [])), vectors, places)

    found = _judge(samples, REPOSITORY, given, {"contrast": new_contrast(given, RECIPE)})

    assert found["users_without_behaviours"] == 5
    assert found["fitted_rows_without_behaviours"] == 15
    assert found["users"] == samples.fitted.sum() - 5
    assert 0.0 <= found["will_buy"]["7d"]["contrast"]["auc"] <= 1.0  # type: ignore[index]


def test_unknown_augmentations_are_refused_with_those_there_are() -> None:
    assert _augmentations("synonym,crop") == ("crop", "synonym")
    for named in ("crops", "crop,crop", ""):
        with pytest.raises(TrainerError, match="write it like crop,mask,reorder,neighbour,synonym"):
            _augmentations(named)
