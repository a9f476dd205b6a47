from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.features import HISTORY_FEATURES, NEVER_DAYS  # noqa: E402
from trainer.evaluate import intent_report, markdown, put_table, report  # noqa: E402
from trainer.head_inputs import Inputs, without_purchases  # noqa: E402
from trainer.rows import Split  # noqa: E402
from trainer.tables import Tables  # noqa: E402

pytestmark = pytest.mark.trainer
NO_TABLES = Tables(**{field.name: np.zeros(0, dtype=np.float32) for field in fields(Tables)})
PURCHASES = HISTORY_FEATURES.index("purchases")


def inputs() -> Inputs:
    """One household; of two interests it bought the second."""
    history = torch.zeros((1, 2, len(HISTORY_FEATURES)))
    history[0, 1] = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 2.0, 7.0, 0.3])
    flags = torch.zeros((1, 2), dtype=torch.bool)
    return Inputs(
        households=np.array([0]),
        history=history,
        user=torch.zeros((1, 11)),
        window=torch.zeros((1, 2, 384)),
        bought=flags,
        intent=flags,
        novel=flags,
        never=flags,
        active=np.array([True]),
    )


def test_a_hidden_purchase_leaves_its_weights_and_looks_never_bought() -> None:
    given = inputs()

    hidden = without_purchases(given, 1.0, np.random.default_rng(0)).history[0, 1]

    assert hidden[:PURCHASES].tolist() == [1.0] * 6
    assert hidden[PURCHASES:].tolist() == [0.0, NEVER_DAYS, NEVER_DAYS, 50.0]
    assert given.history[0, 1, PURCHASES] == 3.0  # the given inputs stay


def test_nothing_is_hidden_at_a_ratio_of_zero() -> None:
    given = inputs()

    assert torch.equal(without_purchases(given, 0.0, np.random.default_rng(0)).history, given.history)


def cutoff(seed: int) -> Split:
    """Forty active households that bought half of twelve interests."""
    draw = np.random.default_rng(seed)
    everything = torch.ones((40, 12), dtype=torch.bool)
    given = inputs()._replace(
        households=np.arange(40),
        bought=torch.from_numpy(draw.random((40, 12)) < 0.5),
        intent=torch.from_numpy(draw.random((40, 3)) < 0.5),
        novel=everything,
        never=everything,
        active=np.ones(40, dtype=np.bool_),
    )
    return Split(date(2017, 10, 29), NO_TABLES, given, torch.zeros(0))


def test_a_report_has_every_model_in_every_variant_and_both_intervals() -> None:
    splits = [cutoff(0), cutoff(1)]
    perfect = [split.inputs.bought.numpy().astype(np.float32) for split in splits]
    blind = [np.full((40, 12), 0.5, dtype=np.float32)] * 2

    found = report(splits, {"gbdt": blind, "model": perfect})

    assert set(found) == {"all", "novel8", "never"}
    assert found["all"]["model"]["ndcg10"] == 1.0
    assert found["all"]["model"]["ece"] == 0.0
    assert found["all"]["gbdt"]["macro_auc"] == 0.5
    assert found["all"]["model_minus_gbdt_ci"][0] > 0
    assert found["all"]["model_minus_gbdt_auc_ci"][0] > 0


def test_intent_is_judged_over_all_cutoffs() -> None:
    splits = [cutoff(0), cutoff(1)]

    found = intent_report(splits, [split.inputs.intent.numpy().astype(np.float32) for split in splits])

    assert found["7d"]["auc"] == 1.0
    assert found["7d"]["ece"] == 0.0


def test_the_table_replaces_what_stood_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: begin -->\nold\n<!-- table: end -->\nafter\n")

    put_table(page, "| new |")

    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| new |" in text
    assert "old" not in text


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here")

    with pytest.raises(ValueError, match="put them where the table belongs"):
        put_table(page, "| new |")


def test_the_tables_say_the_command_the_figures_and_the_interval() -> None:
    row = {"ndcg10": 0.5, "recall10": 0.25, "macro_auc": 0.75, "micro_auc": 0.8, "ece": None}
    found = {
        "all": {"model": row, "model_minus_gbdt_ci": [-0.01, 0.02], "model_minus_gbdt_auc_ci": [0.0, 0.01]}
    }

    text = markdown(
        found, {"1d": {"auc": 0.7, "ece": 0.01, "base_rate": 0.2}}, "interestflow-trainer evaluate"
    )

    assert "`interestflow-trainer evaluate`" in text
    assert "| model | 0.5000 | 0.2500 | 0.7500 | 0.8000 | - |" in text
    assert "NDCG@10 -0.0100 to +0.0200" in text
