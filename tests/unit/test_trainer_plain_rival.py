"""A run of plain BERT, asked about a made shop's users as an evaluation asks it."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from tests.made_samples import write_made_samples  # noqa: E402
from tests.unit.test_trainer_plain_export import lora_run, write_tokenizer  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402
from trainer.plain.merged import load_merged, load_plain_tokenizer  # noqa: E402
from trainer.plain.rival import plain_scores  # noqa: E402
from trainer.plain.window_text import told_windows  # noqa: E402
from trainer.progress import silent  # noqa: E402
from trainer.samples import Samples  # noqa: E402

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
#: Of the run below; most windows are longer.
TOKENS = 12


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    directory = tmp_path_factory.mktemp("samples")
    write_made_samples(directory)
    return Samples(directory)


def run_of(directory: Path, interests: int) -> Path:
    write_tokenizer(directory)
    lora_run(directory / "run", interests)
    figures = {"recipe": {"tokens": TOKENS}}
    (directory / "run" / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
    return directory / "run"


def test_each_user_gets_what_the_model_says_of_its_own_window(samples: Samples, tmp_path: Path) -> None:
    run, day = run_of(tmp_path, len(samples.labels)), samples.calendar.validation
    households = np.arange(149, 0, -2)

    first, second = plain_scores(run, tmp_path, samples, [(day, households), (day, households[:3])], silent)

    assert first.shape == (75, len(samples.labels))
    np.testing.assert_allclose(second, first[:3], atol=1e-6)
    model, tokenizer = load_merged(run), load_plain_tokenizer(tmp_path)
    for row, text in enumerate(told_windows(samples, day, households[:5])):
        ids = tokenizer(text, truncation=True, max_length=TOKENS, return_tensors="pt")
        with torch.no_grad():
            said = torch.sigmoid(model(**ids).logits[0])
        np.testing.assert_allclose(first[row], said.numpy(), atol=1e-5)


def test_a_run_of_other_interests_is_refused(samples: Samples, tmp_path: Path) -> None:
    run = run_of(tmp_path, 12)

    with pytest.raises(TrainerError, match=r"12 interests, the samples have 268.*plain train"):
        plain_scores(run, tmp_path, samples, [], silent)


def test_a_run_that_is_not_there_is_refused(samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="is no finished run"):
        plain_scores(tmp_path / "nothing", tmp_path, samples, [], silent)
