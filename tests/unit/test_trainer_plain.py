import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")
transformers = pytest.importorskip("transformers", reason="needs the trainer extra (torch)")

from safetensors.torch import load_file  # noqa: E402
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer  # noqa: E402

from stream.events import EVENT_TYPES  # noqa: E402
from tests.made_samples import REPOSITORY, write_made_samples  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402
from trainer.plain.ablation import AblationSize, ablation, ablation_table, run_ablation  # noqa: E402
from trainer.plain.cli import differences, table  # noqa: E402
from trainer.plain.fit import PlainRecipe, PlainRun, fit_plain  # noqa: E402
from trainer.plain.tuning import RANK, TUNINGS, Tuning, base_rates, merged, trained_ratio, tuned  # noqa: E402
from trainer.plain.window_text import Altered, WindowRows, split_rows, window_text  # noqa: E402
from trainer.samples import Samples  # noqa: E402

DAY_MS = 86_400_000
PURCHASE, CLICK = EVENT_TYPES.index("purchase"), EVENT_TYPES.index("click")
WORDS = [
    "purchase",
    "click",
    "today",
    "this",
    "week",
    "before",
    "brie",
    "milk",
    "bread",
    "soap",
    ":",
    ";",
    "|",
]
# A row says what is bought next: brie brings milk, bread brings soap.
TEXTS = ["purchase today: brie", "purchase today: bread"]
#: Several processes or runs; on a busy machine each start takes long.
_LONG_SECONDS = 600
BOUGHT = [[True, False, False], [False, True, False]]

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two narrow layers with a vocabulary of its own."""
    directory = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizer(vocab=str(directory / "vocab.txt")).save_pretrained(directory)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    bert: Any = BertModel
    bert(config).save_pretrained(directory)
    return directory


def rows(count: int) -> WindowRows:
    bought = np.array([BOUGHT[row % 2] for row in range(count)])
    return WindowRows(
        texts=[TEXTS[row % 2] for row in range(count)],
        bought=bought,
        novel=np.ones_like(bought),
        never=np.ones_like(bought),
        active=np.ones(count, dtype=np.bool_),
    )


def recipe(tuning: Tuning = "full", steps: int = 20) -> PlainRecipe:
    return PlainRecipe(tuning=tuning, steps=steps, batch=8, tokens=16, looks=2, learning_rate=5e-3)


def weights(out: Path) -> dict[str, Any]:
    return dict(load_file(out / "model" / "model.safetensors"))


def test_the_window_is_told_newest_first_and_each_text_once() -> None:
    told = window_text(
        texts=["milk", "brie", "bread", "milk"],
        kinds=[PURCHASE, PURCHASE, CLICK, PURCHASE],
        occurred_ms=[0, 95 * DAY_MS, 99 * DAY_MS + 1, 100 * DAY_MS],
        now_ms=100 * DAY_MS + 10,
    )

    assert told == "purchase today: milk | click this week: bread | purchase this week: brie"


def test_an_empty_window_says_nothing() -> None:
    assert window_text([], [], [], 0) == ""


def test_of_a_long_window_the_oldest_is_left_out() -> None:
    told = window_text([f"item {row}" for row in range(9)], [PURCHASE] * 9, list(range(9)), 10, most=2)

    assert told.endswith(": item 8; item 7")


@pytest.mark.parametrize("tuning", TUNINGS)
def test_each_way_of_tuning_learns_and_is_kept_as_one_model(
    base: Path, tmp_path: Path, tuning: Tuning
) -> None:
    chosen = replace(recipe(tuning, 60), learning_rate=2e-2 if tuning != "full" else 5e-3)

    figures = fit_plain(base, rows(64), rows(64), chosen, PlainRun(tmp_path))

    first, last = (figures["looks"][look]["eval_loss"] for look in (0, -1))
    assert last < first
    assert figures["validation"]["all"]["ndcg10"] > 0.7
    assert 0.0 < figures["trained_ratio"] <= 1.0
    assert json.loads((tmp_path / "figures.json").read_text()) == json.loads(json.dumps(figures))
    assert any((tmp_path / "model").glob("*.safetensors"))


@pytest.mark.parametrize("patience", [0, 3])
def test_figures_say_which_weights_were_kept(base: Path, tmp_path: Path, patience: int) -> None:
    chosen = replace(recipe(), patience=patience)

    figures = fit_plain(base, rows(32), rows(32), chosen, PlainRun(tmp_path))

    best = max(figures["looks"], key=lambda look: float(look["eval_novel8_ndcg10"]))
    assert figures["kept_step"] == (best["step"] if patience else 20)


@pytest.mark.parametrize("tuning", TUNINGS)
def test_the_best_look_is_kept_whatever_came_after_it(
    base: Path, tmp_path: Path, tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []

    def worse_each_time(_: WindowRows) -> Any:
        def judge(asked: Any) -> dict[str, float]:
            said.append(np.array(asked.predictions))
            return {"novel8_ndcg10": 1.0 / len(said)}

        return judge

    monkeypatch.setattr("trainer.plain.fit._judge", worse_each_time)
    chosen = replace(recipe(tuning, 60), looks=6, patience=6, learning_rate=2e-2)

    figures = fit_plain(base, rows(32), rows(32), chosen, PlainRun(tmp_path))

    assert figures["kept_step"] == 10
    assert np.allclose(said[0], said[-1], atol=1e-4)
    assert not np.allclose(said[-2], said[-1], atol=1e-4)


def test_adalora_does_not_go_on_after_a_kill(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no checkpoint keeps: leave out --resume"):
        fit_plain(base, rows(8), rows(8), recipe("adalora"), PlainRun(tmp_path, resume=True))


def test_few_weights_are_trained_beside_a_frozen_bert(base: Path) -> None:
    ratios = {}
    for tuning in TUNINGS:
        bert: Any = BertForSequenceClassification.from_pretrained(base, num_labels=3)
        ratios[tuning] = trained_ratio(tuned(bert, tuning, 100))

    assert ratios["full"] == 1.0
    assert max(ratio for tuning, ratio in ratios.items() if tuning != "full") < 0.2


def test_a_merged_adapter_says_what_it_said_beside_bert(base: Path) -> None:
    bert: Any = BertForSequenceClassification.from_pretrained(base, num_labels=3)
    model = tuned(bert, "lora", 100)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    model.eval()
    ids = torch.tensor([[2, 11, 12, 3]])
    before = model(input_ids=ids).logits

    whole: Any = merged(model)
    after = whole.eval()(input_ids=ids).logits

    assert torch.allclose(before, after, atol=1e-5)
    assert not any("lora" in name for name, _ in merged(model).named_parameters())


def test_an_untrained_model_says_how_often_each_is_bought(base: Path) -> None:
    bert: Any = BertForSequenceClassification.from_pretrained(base, num_labels=2)
    base_rates(bert, torch.tensor([0.5, 0.01]))

    said = torch.sigmoid(bert.eval()(input_ids=torch.tensor([[2, 11, 3]])).logits[0])

    assert said.tolist() == pytest.approx([0.5, 0.01], rel=0.2)


def test_one_seed_gives_the_same_weights_again_and_another_seed_others(base: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        fit_plain(base, rows(32), rows(32), replace(recipe(), seed=seed), PlainRun(tmp_path / name))

    one, again, other = (weights(tmp_path / name) for name in ("one", "again", "other"))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_was_killed_goes_on_to_the_same_weights(base: Path, tmp_path: Path) -> None:
    fit_plain(base, rows(32), rows(32), recipe(), PlainRun(tmp_path / "whole"))
    fit_plain(base, rows(32), rows(32), recipe(), PlainRun(tmp_path / "killed"))
    last = max((tmp_path / "killed").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in last.iterdir():
        path.unlink()
    last.rmdir()

    figures = fit_plain(base, rows(32), rows(32), recipe(), PlainRun(tmp_path / "killed", resume=True))

    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert figures["steps"] == 20
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no checkpoint to go on from: leave out --resume"):
        fit_plain(base, rows(8), rows(8), recipe(), PlainRun(tmp_path, resume=True))


def test_adalora_needs_steps_to_hand_out_its_ranks(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="give it 10 steps or more, not 4"):
        fit_plain(base, rows(8), rows(8), recipe("adalora", 4), PlainRun(tmp_path))


def test_adalora_ends_with_the_ranks_that_it_may_have(base: Path, tmp_path: Path) -> None:
    fit_plain(base, rows(32), rows(32), recipe("adalora", 60), PlainRun(tmp_path))

    kept = load_file(tmp_path / "checkpoint-60" / "adapter_model.safetensors")
    ranks = [weights for name, weights in kept.items() if "lora_E" in name]
    assert len(ranks) == 4  # queries and values of two layers
    assert sum(int(weights.count_nonzero()) for weights in ranks) == 4 * RANK
    assert sum(len(weights) for weights in ranks) > 4 * RANK


def test_adversarial_training_leaves_the_word_vectors_where_training_put_them(
    base: Path, tmp_path: Path
) -> None:
    """With a learning rate of almost nothing the words are moved along the gradient, and back."""
    still = replace(recipe(), learning_rate=1e-12, weight_decay=0.0, dropout=0.0)
    fit_plain(base, rows(32), rows(32), replace(still, epsilon=1.0), PlainRun(tmp_path / "fgm"))
    fit_plain(base, rows(32), rows(32), still, PlainRun(tmp_path / "plain"))

    moved, unmoved = weights(tmp_path / "fgm"), weights(tmp_path / "plain")

    assert all(torch.allclose(moved[name], unmoved[name], atol=1e-5) for name in moved)


def test_adversarial_training_changes_what_is_learnt(base: Path, tmp_path: Path) -> None:
    fit_plain(base, rows(32), rows(32), replace(recipe(), epsilon=1.0), PlainRun(tmp_path / "fgm"))
    fit_plain(base, rows(32), rows(32), recipe(), PlainRun(tmp_path / "plain"))

    misled, plain = weights(tmp_path / "fgm"), weights(tmp_path / "plain")

    assert any(not torch.allclose(misled[name], plain[name], atol=1e-4) for name in plain)


def test_word_vectors_that_are_not_trained_can_not_be_moved(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="--tuning lora does not train them: leave out --epsilon"):
        fit_plain(base, rows(8), rows(8), replace(recipe("lora"), epsilon=1.0), PlainRun(tmp_path))


def test_tracking_goes_to_tensorboard(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))

    fit_plain(base, rows(16), rows(32), recipe(), PlainRun(tmp_path / "run", report_to="tensorboard"))

    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


_TWO_PROCESSES = """
import sys
from pathlib import Path
import numpy as np
from tests.unit.test_trainer_plain import recipe, rows
from trainer.plain.fit import PlainRun, fit_plain
figures = fit_plain(Path(sys.argv[1]), rows(64), rows(32), recipe(), PlainRun(Path(sys.argv[2])))
assert figures["steps"] == 20
"""


@pytest.mark.timeout(_LONG_SECONDS)
def test_two_processes_train_one_model_over_gloo(base: Path, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(_TWO_PROCESSES, encoding="utf-8")
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_addr",
        "127.0.0.1",
    ]
    launch += [
        "--rdzv_backend",
        "c10d",
        "--rdzv_endpoint",
        "127.0.0.1:0",
        str(script),
        str(base),
        str(tmp_path / "out"),
    ]
    environment = {**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}

    done = subprocess.run(
        launch, env=environment, capture_output=True, text=True, timeout=_LONG_SECONDS - 30, check=False
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert any((tmp_path / "out" / "model").glob("*.safetensors"))


def test_runs_stand_in_one_table() -> None:
    variants = {name: {"ndcg10": 0.5, "macro_auc": 0.6} for name in ("all", "novel8", "never")}
    run = {
        "trained_ratio": 0.011,
        "steps": 100,
        "seconds": 61.4,
        "samples_per_second": 52.0,
        "milliseconds_per_row": 6.51,
        "validation": variants,
        "minus_full": {"never": {"ndcg10": 0.01, "ndcg10_ci": [-0.005, 0.025]}},
    }

    heads, _, row = table({"lora": run}).splitlines()
    assert heads == (
        "| run | trained weights | steps | seconds | rows/s | ms per row "
        "| all ndcg10 | novel8 ndcg10 | never ndcg10 | all macro_auc | novel8 macro_auc | never macro_auc |"
    )
    assert (
        row == "| lora | 1.1% | 100 | 61 | 52 | 6.5 "
        "| 0.5000 | 0.5000 | 0.5000 (-0.0050 to +0.0250) | 0.6000 | 0.6000 | 0.6000 |"
    )


def test_a_run_is_held_against_full_tuning_household_by_household() -> None:
    full, better = run(0.4, 0.5, 0.6), run(0.5, 0.6, 0.7)

    found = differences(better, full)

    assert found["novel8"]["ndcg10"] == pytest.approx(0.1)
    assert found["novel8"]["ndcg10_ci"] == pytest.approx([0.1, 0.1])
    assert differences(full, full) == {}
    assert differences(better, None) == {}
    assert differences(run(0.5, 0.6), full) == {}  # other households
    assert differences({"steps": 5}, full) == {}  # of an earlier release


def run(*ndcg: float, steps: int = 5) -> dict[str, Any]:
    variants = {name: list(ndcg) for name in ("all", "novel8", "never")}
    return {"ndcg": variants, "steps": steps, "seconds": 1.0}


def test_a_factor_is_worth_its_mean_difference_over_seeds_and_households() -> None:
    usual, better = [run(0.2, 0.4), run(0.4, 0.6)], [run(0.3, 0.5), run(0.5, 0.7)]

    found = ablation({"usual": usual, "adversarial": better})

    assert found["adversarial"]["novel8"]["ndcg10"] == pytest.approx(0.5)
    assert found["adversarial"]["novel8"]["by_seed"] == pytest.approx([0.4, 0.6])
    assert found["adversarial"]["all"]["difference_ci"] == pytest.approx([0.1, 0.1])
    assert found["usual"]["never"]["difference"] == 0.0
    assert "| adversarial | 0.5000 (0.4000, 0.6000) | +0.1000 (+0.1000 to +0.1000)" in ablation_table(found)


def test_each_factor_changes_one_thing_of_the_recipe() -> None:
    size = AblationSize()
    usual = size.recipe("usual", 1)

    assert usual.seed == 1
    assert size.recipe("no_dropout", 1) == replace(usual, dropout=0.0)
    assert size.recipe("no_early_stopping", 1) == replace(usual, patience=0)


@pytest.mark.timeout(_LONG_SECONDS)
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")  # few buyers, no AUC
def test_an_ablation_makes_only_the_runs_that_are_not_there(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_made_samples(tmp_path / "samples")
    samples = Samples(tmp_path / "samples")
    monkeypatch.setattr("trainer.plain.ablation.base_directory", lambda: base)
    size = AblationSize(seeds=1, steps=2, batch=4, tokens=16, every=20, judged_every=1, looks=1)
    out = tmp_path / "ablation"

    run_ablation(samples, REPOSITORY, out, size, ["no_dropout"])
    (out / "usual-0" / "mark").touch()
    found = run_ablation(samples, REPOSITORY, out, size, ["no_dropout", "adversarial"])

    assert list(found) == ["usual", "no_dropout", "adversarial"]
    assert (out / "usual-0" / "mark").exists()
    assert sorted(path.name for path in (out / "adversarial-0").iterdir()) == ["figures.json"]
    with pytest.raises(TrainerError, match="no factor is called 'luck': choose of usual, no_dropout"):
        run_ablation(samples, REPOSITORY, out, size, ["luck"])


def test_half_of_the_windows_are_told_altered(tmp_path: Path) -> None:
    write_made_samples(tmp_path / "samples", households=60)
    samples = Samples(tmp_path / "samples")
    gone = Altered(lambda window, _: window.at(np.arange(0)), samples.texts, seed=0)

    told, _ = split_rows(samples, 1, altered=gone)
    untouched, _ = split_rows(samples, 1)

    assert 0.4 < np.mean([text == "" for text in told.texts]) < 0.6
    assert set(told.texts) <= {"", *untouched.texts}


def test_a_look_is_at_evenly_spaced_households() -> None:
    assert [len(rows(10).spaced(most).texts) for most in (3, 10, 99)] == [3, 10, 10]
    assert rows(9).spaced(3).bought.tolist() == rows(9).bought[[0, 4, 8]].tolist()


def test_a_run_in_half_the_bits_learns(base: Path, tmp_path: Path) -> None:
    figures = fit_plain(base, rows(32), rows(32), replace(recipe(), precision="bf16"), PlainRun(tmp_path))

    first, last = (figures["looks"][look]["eval_loss"] for look in (0, -1))
    assert last < first
    assert 0.0 < figures["looks"][0]["train_seconds"] < figures["seconds"]
