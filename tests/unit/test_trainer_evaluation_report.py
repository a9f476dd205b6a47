"""The evaluation report: its parts on made rows, and both documents."""

from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.features import HISTORY_FEATURES, USER_FEATURES  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402
from trainer.head_inputs import Inputs  # noqa: E402
from trainer.report.choices import best_threshold, classified, reliability  # noqa: E402
from trainer.report.fairness import fairness  # noqa: E402
from trainer.report.groups import household_groups  # noqa: E402
from trainer.report.scored import Scored  # noqa: E402
from trainer.report.slices import by_buyers, by_cutoff, by_history  # noqa: E402
from trainer.rows import Split  # noqa: E402
from trainer.tables import Tables  # noqa: E402

pytestmark = pytest.mark.trainer
HOUSEHOLDS, INTERESTS = 60, 12
PURCHASES = HISTORY_FEATURES.index("purchases")


def scored(excess: float = 0.0) -> Scored:
    """Two cutoffs of households that buy as the head says, on the average; the odd ones by ``excess`` less."""
    splits, said = [], []
    for seed, day in enumerate((date(2017, 10, 29), date(2017, 11, 5))):
        draw = np.random.default_rng(seed)
        odds = draw.uniform(0.1, 0.9, (HOUSEHOLDS, INTERESTS)).astype(np.float32)
        true = odds - excess * (np.arange(HOUSEHOLDS) % 2)[:, None]
        history = torch.zeros((HOUSEHOLDS, INTERESTS, len(HISTORY_FEATURES)))
        history[:, 0, PURCHASES] = torch.arange(HOUSEHOLDS) * 10.0
        everything = torch.ones((HOUSEHOLDS, INTERESTS), dtype=torch.bool)
        inputs = Inputs(
            households=np.arange(HOUSEHOLDS),
            history=history,
            user=torch.zeros((HOUSEHOLDS, len(USER_FEATURES))),
            window=torch.zeros((HOUSEHOLDS, 2, 4)),
            bought=torch.from_numpy(draw.random((HOUSEHOLDS, INTERESTS)) < true),
            intent=torch.from_numpy(draw.random((HOUSEHOLDS, 3)) < 0.5),
            novel=everything,
            never=everything,
            active=np.ones(HOUSEHOLDS, dtype=np.bool_),
        )
        tables = Tables(**{field.name: np.zeros(0, dtype=np.float32) for field in fields(Tables)})
        object.__setattr__(tables, "rarity", -np.log(np.linspace(0.01, 0.9, INTERESTS)))
        splits.append(Split(day, tables, inputs, torch.zeros(0)))
        said.append(odds)
    flat = [np.full((HOUSEHOLDS, INTERESTS), 0.5, dtype=np.float32)] * 2
    intent = [np.full((HOUSEHOLDS, 3), 0.5, dtype=np.float32)] * 2
    return Scored(splits, {"popularity": flat, "gbdt": flat, "model": said}, intent)


def groups(small: int = 0) -> dict[str, list[str]]:
    """Odd and even households, the last ones in a group of their own."""
    named = [("even", "odd")[household % 2] for household in range(HOUSEHOLDS - small)]
    return {"side": [*named, *["small"] * small]}


def test_figures_by_cutoff_have_every_shown_model() -> None:
    found = by_cutoff(scored())

    assert list(found["all"]) == ["2017-10-29", "2017-11-05"]
    assert found["never"]["2017-10-29"]["model"]["macro_auc"] > 0.6
    assert found["all"]["2017-11-05"]["popularity"]["ece"] is None


def test_households_are_grouped_by_what_they_bought_before() -> None:
    found = by_history(scored())

    assert [row["group"] for row in found] == [
        "up to 25 purchases",
        "over 25 to 100 purchases",
        "over 100 to 300 purchases",
        "over 300 purchases",
    ]
    assert [row["households"] for row in found] == [3, 8, 20, 29]
    assert found[3]["models"]["model"]["micro_auc"] > 0.6
    assert found[3]["models"]["gbdt"]["micro_auc"] == 0.5


def test_interests_are_grouped_by_their_buyers() -> None:
    found = by_buyers(scored())

    assert sum(row["interests"] for row in found) == INTERESTS
    assert found[0]["group"] == "up to 0.05 of the households"
    assert found[0]["interests"] == 1
    assert found[-1]["models"]["model"]["macro_auc"] > 0.6


def test_groups_that_are_served_alike_pass() -> None:
    found = fairness(scored(), groups())

    assert found["ok"]
    even, odd = found["attributes"]["side"]
    assert (even["group"], even["households"]) == ("even", 30)
    low, high = even["calibration_gap_ci"]
    assert low < even["calibration_gap"] < high
    assert abs(odd["calibration_gap"]) < 0.05


def test_a_group_that_buys_less_than_was_said_fails_the_gate() -> None:
    found = fairness(scored(excess=0.1), groups())

    assert not found["ok"]
    assert found["failed"] == ["side odd"]


def test_a_small_group_is_counted_and_not_judged() -> None:
    found = fairness(scored(), groups(small=7))

    assert found["attributes"]["side"][-1] == {"group": "small", "households": 7}


def test_the_threshold_is_the_one_with_the_best_f1() -> None:
    given = scored()
    perfect = [np.where(split.inputs.bought, 0.7, 0.3).astype(np.float32) for split in given.splits]

    assert best_threshold(given._replace(scores={"model": perfect})) == pytest.approx(0.7)


def test_the_classification_report_has_every_interest_and_the_averages() -> None:
    given = scored()
    names = [f"interest {number}" for number in range(INTERESTS)]

    found = classified(given, best_threshold(given), names)

    assert list(found["interests"]) == names
    assert found["averages"]["micro avg"]["support"] == sum(
        int(split.inputs.bought.sum()) for split in given.splits
    )
    assert found["interests"]["interest 3"]["recall"] > 0.5
    active = np.concatenate([split.inputs.bought.numpy()[split.inputs.active] for split in given.splits])
    assert found["interests"]["interest 3"]["happened"] == pytest.approx(active[:, 3].mean())
    gaps = [abs(row["said"] - row["happened"]) for row in found["interests"].values()]
    assert found["mean_gap"] == pytest.approx(np.mean(gaps))


def test_reliability_follows_what_happened() -> None:
    points = reliability(scored())["all"]

    assert len(points) == 15
    assert all(abs(point["said"] - point["happened"]) < 0.2 for point in points)


class Shop:
    """What of the samples names the households."""

    def __init__(self) -> None:
        self.households = ["u1", "u2", "u3"]
        self.data = {"sha256": "0" * 64}


def test_groups_come_from_a_file_in_the_order_of_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("user_id,plan\nu3,free\nu1,paid\nother,free\n")
    shop: Any = Shop()

    assert household_groups(shop, path) == {"plan": ["paid", "", "free"]}
    assert household_groups(shop) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [("user,plan\nu1,paid\n", "groups need user_id"), ("user_id,plan\nx,paid\n", "names none of the")],
)
def test_a_file_without_groups_says_what_is_needed(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(text)
    shop: Any = Shop()

    with pytest.raises(TrainerError, match=said):
        household_groups(shop, path)


def content(given: Scored, who: dict[str, list[str]]) -> dict[str, Any]:
    names = [f"interest <{number}>" for number in range(INTERESTS)]
    return {
        "coupon_response": {
            "test": {
                "rows": 9,
                "redeemed": 2,
                "auc": 0.8,
                "log_loss": 0.1,
                "constant_log_loss": 0.2,
                "base_rate_log_loss": 0.15,
            }
        },
        "explanations": {
            "cutoff": "2017-10-01",
            "methods": {
                "occlusion": {
                    "spearman": 0.9,
                    "spearman_ci": [0.8, 0.95],
                    "same_top": 0.75,
                    "scores": 30,
                    "users": 10,
                    "behaviours": 400,
                },
                "update": {"scores": 0, "users": 0, "behaviours": 0},
            },
            "example": {
                "interest": "tea",
                "behaviours": [{"text": "tea, food", "days_ago": 2.0, "occlusion": 0.5, "left_out": 0.4}],
            },
        },
        "reliability": reliability(given),
        "by_cutoff": by_cutoff(given),
        "by_history": by_history(given),
        "by_buyers": by_buyers(given),
        "fairness": fairness(given, who),
        "classification": classified(given, 0.5, names),
        "command": "interestflow-trainer evaluate",
        "day": "2025-01-01",
        "machine": "2 x CPU",
        "data": "made",
        "households": HOUSEHOLDS,
        "cutoffs": ["2017-10-29"],
        "validation": False,
        "shown": list(given.shown()),
        "tolerance": 0.02,
        "min_households": 20,
        "table": "| model | ndcg10 |\n|---|---|\n| model | 0.5 |",
    }


def test_both_documents_are_whole_and_the_html_needs_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the trainer extra as it is locked")
    from trainer.report.document import write_document  # noqa: PLC0415
    from trainer.report.plots import draw_plots  # noqa: PLC0415

    given = content(scored(), groups(small=7))
    write_document(given, draw_plots(given, tmp_path), tmp_path)

    text = (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "| test: 9 | 2 | 0.800 | 0.10000 | 0.20000 | 0.15000 |" in text
    assert "| occlusion | 0.900 (0.800 to 0.950) | 0.75 | 30 | 10 | 400 |" in text
    assert "| tea, food | 2.0 | +0.5000 | +0.4000 |" in text
    assert "| side small | 7 | - | - | - | - | too few |" in text
    assert "![calibration gap by group](fairness.png)" in text
    assert "interest &lt;3&gt;" in text
    assert page.count('src="data:image/png;base64,') == 5
    assert "http" not in page
    assert page.count("<table>") == 10
