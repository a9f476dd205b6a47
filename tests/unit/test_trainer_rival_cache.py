from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from trainer.baselines import Boosting, BoostingRecipe  # noqa: E402
from trainer.derived import FEATURES  # noqa: E402
from trainer.rival_cache import RivalCache  # noqa: E402
from trainer.rows import Split  # noqa: E402
from trainer.samples import Samples  # noqa: E402

pytestmark = pytest.mark.trainer
SETTINGS = {"rounds": 3, "features": ("ease",)}


def cache(directory: Path, learnt: tuple[bool, ...] = (True, False)) -> RivalCache:
    """Of a samples directory with one file."""
    samples = SimpleNamespace(directory=directory / "samples", fitted=np.array(learnt))
    return RivalCache(directory / "rivals", cast(Samples, samples))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "samples.json").write_text("{}", encoding="utf-8")
    return tmp_path


def test_a_kept_rival_is_found_again(work: Path) -> None:
    cache(work).keep("gbdt", SETTINGS, b"trees")

    assert cache(work).find("gbdt", SETTINGS) == b"trees"


def test_nothing_is_found_before_anything_is_kept(work: Path) -> None:
    assert cache(work).find("gbdt", SETTINGS) is None


def test_other_inputs_find_nothing(work: Path) -> None:
    cache(work).keep("gbdt", SETTINGS, b"trees")

    assert cache(work).find("gbdt_17", SETTINGS) is None
    assert cache(work).find("gbdt", {**SETTINGS, "rounds": 4}) is None
    assert cache(work, learnt=(True, True)).find("gbdt", SETTINGS) is None
    (work / "samples" / "samples.json").write_text("{ }", encoding="utf-8")
    assert cache(work).find("gbdt", SETTINGS) is None


def test_a_rival_takes_the_place_of_the_one_before(work: Path) -> None:
    for rounds in (3, 4):
        cache(work).keep("gbdt", {"rounds": rounds}, b"trees")

    assert len(list((work / "rivals").iterdir())) == 1


def test_trees_that_were_kept_say_the_same() -> None:
    draw = np.random.default_rng(0)
    derived = torch.from_numpy(draw.random((60, 60, len(FEATURES)), dtype=np.float32))
    inputs = SimpleNamespace(bought=derived[..., 0] > 0.5)
    fitted, again = (Boosting(BoostingRecipe(rounds=5)) for _ in range(2))
    fitted.fit([cast(Split, SimpleNamespace(derived=derived, inputs=inputs))])

    again.load(fitted.dump())

    assert np.array_equal(again.predict(derived), fitted.predict(derived))
    assert np.ptp(fitted.predict(derived)) > 0.0
