from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from trainer.baselines import Boosting, BoostingRecipe  # noqa: E402
from trainer.derived import FEATURES  # noqa: E402
from trainer.rival_cache import RivalCache, fingerprint  # noqa: E402
from trainer.rows import Split  # noqa: E402

pytestmark = pytest.mark.trainer
NUMBERS = np.arange(6, dtype=np.float32)


def split(seed: int = 0) -> Split:
    draw = np.random.default_rng(seed)
    derived = torch.from_numpy(draw.random((60, 60, len(FEATURES)), dtype=np.float32))
    return cast(Split, SimpleNamespace(derived=derived, inputs=SimpleNamespace(bought=derived[..., 0] > 0.5)))


def test_a_kept_rival_is_found_again_by_its_key_alone(tmp_path: Path) -> None:
    cache = RivalCache(tmp_path / "rivals")
    assert cache.find("gbdt", "1a") is None

    cache.keep("gbdt", "1a", b"trees")

    assert cache.find("gbdt", "1a") == b"trees"
    assert cache.find("gbdt", "2b") is None
    assert cache.find("gbdt_17", "1a") is None


def test_a_rival_takes_the_place_of_the_one_before_and_of_no_other(tmp_path: Path) -> None:
    cache = RivalCache(tmp_path)
    for name, key in (("gbdt", "1a"), ("gbdt_17", "1a"), ("gbdt", "2b")):
        cache.keep(name, key, b"trees")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["gbdt-2b", "gbdt_17-1a"]


def test_a_fingerprint_is_of_settings_values_and_shapes() -> None:
    found = {
        fingerprint({"rounds": 3}, [NUMBERS]),
        fingerprint({"rounds": 4}, [NUMBERS]),
        fingerprint({"rounds": 3}, [NUMBERS + 1]),
        fingerprint({"rounds": 3}, [NUMBERS.reshape(2, 3)]),
        fingerprint({"rounds": 3}, [NUMBERS[:3], NUMBERS[3:]]),
    }

    assert len(found) == 5
    assert fingerprint({"rounds": 3}, [NUMBERS]) in found


def test_trees_that_were_kept_say_the_same() -> None:
    given = split()
    fitted, again = (Boosting(BoostingRecipe(rounds=5)) for _ in range(2))
    fitted.fit([given])

    again.load(fitted.dump())

    assert np.array_equal(again.predict(given.derived), fitted.predict(given.derived))
    assert np.ptp(fitted.predict(given.derived)) > 0.0


def test_boosting_on_other_features_or_rows_has_another_fingerprint() -> None:
    recipe = BoostingRecipe(rounds=5)
    found = {
        Boosting(recipe).fingerprint([split()]),
        Boosting(recipe).fingerprint([split(1)]),
        Boosting(recipe, FEATURES[:5]).fingerprint([split()]),
        Boosting(BoostingRecipe(rounds=6)).fingerprint([split()]),
    }

    assert len(found) == 4


def test_any_number_of_threads_fits_the_same_trees() -> None:
    given = split()
    one, two = (Boosting(BoostingRecipe(rounds=5, threads=threads)) for threads in (1, 2))
    one.fit([given])
    two.fit([given])

    assert one.fingerprint([given]) == two.fingerprint([given])
    assert np.array_equal(one.predict(given.derived), two.predict(given.derived))
