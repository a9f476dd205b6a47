"""Drift of a made shop: nothing moves, then its shoppers, products and interests do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from tests.made_samples import write_made_samples
from trainer.drift import DriftLimits, Newest, drift_report, measure_drift, parse_limits, stability_index
from trainer.drift_reference import FEATURE_NAMES, DriftReference, load_reference, make_reference
from trainer.errors import TrainerError
from trainer.samples import Purchases, Samples, purchases_path

pytestmark = pytest.mark.trainer
#: Months of so few lines differ by chance.
LIMITS = DriftLimits(interest_psi=2.0)
CALIBRATED = {"ece": 0.001, "expected_to_bought": 1.0}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    directory = tmp_path_factory.mktemp("samples")
    write_made_samples(directory)
    return Samples(directory)


@pytest.fixture(scope="module")
def reference(samples: Samples) -> DriftReference:
    return make_reference(samples, samples.calendar.validation)


def newest(samples: Samples) -> Newest:
    return Newest(samples, samples.calendar.validation, frozenset(samples.labels.names))


def findings(found: dict[str, Any]) -> dict[str, bool]:
    return {finding["name"]: finding["kept"] for finding in found["findings"]}


def changed(samples: Samples, directory: Path, change: Callable[[Purchases], Purchases]) -> Samples:
    """The same with other purchases."""
    for path in samples.directory.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    purchases = change(samples.purchases())
    np.savez(purchases_path(directory), **purchases._asdict(), received_seconds=purchases.at_seconds)
    return Samples(directory)


def test_the_same_shares_have_an_index_of_nothing_and_swapped_ones_do_not() -> None:
    half = np.array([0.5, 0.5], dtype=np.float32)
    moved = np.array([0.25, 0.75], dtype=np.float32)

    assert stability_index(half, half) == 0.0
    # .25 ln(.75 / .25): both bins' terms together
    assert stability_index(half, moved) == pytest.approx(0.2747, abs=1e-4)


def test_a_share_of_nothing_gives_a_finite_index() -> None:
    assert np.isfinite(stability_index(np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)))


def test_a_shop_that_goes_on_as_before_is_not_worth_training_again(
    samples: Samples, reference: DriftReference
) -> None:
    found = measure_drift(reference, newest(samples), LIMITS, CALIBRATED)

    assert set(found["features"]) == set(FEATURE_NAMES)
    assert max(found["features"].values()) == 0.0
    assert not found["retrain"], found["findings"]


def test_what_is_read_back_is_what_was_written(reference: DriftReference, tmp_path: Path) -> None:
    reference.save(tmp_path / "reference.npz")

    found = load_reference(tmp_path / "reference.npz")

    assert found.day == reference.day
    assert found.unserved == reference.unserved
    for name in ("edges", "shares", "interests", "texts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(reference, name))


def test_a_version_without_a_reference_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"published by an earlier release.*make model"):
        load_reference(tmp_path / "none.npz")


def test_new_products_are_found(samples: Samples, reference: DriftReference) -> None:
    half_known = replace(reference, texts=reference.texts[::2])

    found = measure_drift(half_known, newest(samples), LIMITS, CALIBRATED)

    assert findings(found) == {
        "feature_psi": True,
        "interest_psi": True,
        "unseen_products": False,
        "unseen_categories": True,
        "calibration": True,
        "age_days": True,
    }
    assert found["retrain"]


def test_categories_that_the_version_has_no_interest_for_are_found(
    samples: Samples, reference: DriftReference
) -> None:
    fewer = newest(samples)._replace(categories=frozenset(samples.labels.names[5:]))

    assert not findings(measure_drift(reference, fewer, LIMITS, None))["unseen_categories"]


def test_lines_of_categories_that_are_no_interest_are_found(
    samples: Samples, reference: DriftReference, tmp_path: Path
) -> None:
    def forget(purchases: Purchases) -> Purchases:
        return purchases._replace(interest=np.where(purchases.interest < 5, -1, purchases.interest))

    found = measure_drift(reference, newest(changed(samples, tmp_path, forget)), LIMITS, None)

    assert not findings(found)["unseen_categories"]


def test_other_interests_being_bought_are_found(
    samples: Samples, reference: DriftReference, tmp_path: Path
) -> None:
    def move(purchases: Purchases) -> Purchases:
        return purchases._replace(interest=purchases.interest + np.int32(60))

    found = measure_drift(reference, newest(changed(samples, tmp_path, move)), LIMITS, CALIBRATED)

    assert not findings(found)["interest_psi"]


def test_a_calibration_error_above_the_limit_is_worth_it(samples: Samples, reference: DriftReference) -> None:
    wrong = {"ece": 0.02, "expected_to_bought": 1.6}

    found = measure_drift(reference, newest(samples), LIMITS, wrong)

    assert findings(found)["calibration"] is False
    assert found["retrain"]


def test_scores_of_other_interests_are_not_held_against_the_samples(
    samples: Samples, reference: DriftReference
) -> None:
    found = measure_drift(reference, newest(samples), LIMITS, None)

    assert not {"calibration", "interest_psi"} & set(findings(found))


def test_users_who_changed_are_found_but_not_that_they_are_known_for_longer(
    samples: Samples, reference: DriftReference
) -> None:
    shares = reference.shares.copy()
    for name in ("user.days_since_first_seen", "interest.days_since_purchase"):
        row = FEATURE_NAMES.index(name)
        shares[row] = 0.0
        shares[row, -1] = 1.0
        found = measure_drift(replace(reference, shares=shares), newest(samples), LIMITS, None)
        assert findings(found)["feature_psi"] is (name == "user.days_since_first_seen")


def test_limits_are_set_by_name() -> None:
    assert parse_limits(["age_days=30", "calibration=0.02"]) == DriftLimits(age_days=30.0, calibration=0.02)


@pytest.mark.parametrize("given", ["age=30", "age_days", "age_days=soon"])
def test_a_limit_that_is_none_is_refused_with_the_names(given: str) -> None:
    with pytest.raises(TrainerError, match=f"'{given}' sets no limit: write NAME=NUMBER.*feature_psi"):
        parse_limits([given])


def test_the_report_says_what_is_broken(samples: Samples, reference: DriftReference) -> None:
    found = measure_drift(reference, newest(samples), DriftLimits(interest_psi=2.0, age_days=7.0), CALIBRATED)

    text = "\n".join(drift_report({"version": "3", **found}))

    assert "# Drift since version 3: training again is worth it" in text
    assert "| age_days | 28.0000 | 7 | **broken** |" in text
    assert "| calibration | 0.0010 | 0.01 | kept |" in text
