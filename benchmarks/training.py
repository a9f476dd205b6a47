"""Samples per second of every training recipe, on a made shop: encoder, head, and plain BERT tuned in each way.

    python -m benchmarks.training [--json FILE] [--steps 12] [--recipes "encoder and head,full,lora"]

A sample of the encoder is a text, of the head and of plain BERT a user at a cutoff. Each recipe runs in a process of its
own, with the interpreter that runs this; it needs the trainer's environment. See docs/fine-tune.md.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.importing import cost
from benchmarks.machine import machine, versions
from benchmarks.report import keep, table
from tests.shop_files import COLUMNS, MAPPING, order_rows

ENCODER_AND_HEAD: Final = "encoder and head"
#: As ``interestflow-trainer plain train --tuning`` has them.
_TUNINGS: Final = ("full", "lora", "adalora", "ia3", "prompt", "frozen")
RECIPES: Final = (ENCODER_AND_HEAD, *_TUNINGS)
#: Batches of ``--quick``.
_BATCHES: Final = {"fine-tune encoder": ("encoder", 32), "train head": ("head", 64)}
_BATCH: Final = 32
_DISTRIBUTIONS: Final = ("torch", "transformers", "peft", "numpy")


def make_samples(directory: Path) -> Path:
    """The work directory of a made shop of 200 users, 60 categories and 180 products."""
    orders, mapping, work = directory / "orders.csv", directory / "shop.toml", directory / "run"
    with orders.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *order_rows(users=200, weeks=20, categories=60)])
    mapping.write_text(MAPPING + "\n[interests]\nmin_buyers = 5\n", encoding="utf-8")
    archive = str(directory / "shop")
    cost(["events", "import", "--mapping", str(mapping), "--out", archive, str(orders)], directory)
    cost(["samples", "--events", archive, "--work", str(work)], directory)
    return work


def measure(recipe: str, work: Path, steps: int) -> dict[str, float]:
    """Samples per second by name."""
    figures = work / "figures.json"
    if recipe == ENCODER_AND_HEAD:
        cost(["train", "--work", str(work), "--quick", "--json", str(figures)], work)
        told = json.loads(figures.read_text(encoding="utf-8"))["steps_per_second"]
        return {
            name: round(told[title] * batch, 1) for title, (name, batch) in _BATCHES.items() if title in told
        }
    options = [
        "--tuning",
        recipe,
        "--steps",
        str(steps),
        "--batch",
        str(_BATCH),
        "--looks",
        "1",
        "--every",
        "4",
    ]
    cost(["plain", "train", "--work", str(work), *options, "--json", str(figures)], work)
    told = json.loads(figures.read_text(encoding="utf-8"))
    return {f"plain BERT, {recipe}": round(told["samples_per_second"], 1)}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--steps", type=int, default=12, help="of plain BERT; adalora needs 10")
    parser.add_argument("--recipes", default=",".join(RECIPES), help="by comma")
    asked = parser.parse_args()
    told: dict[str, Any] = {"machine": machine(), "versions": versions(_DISTRIBUTIONS)}
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory:
        work = make_samples(Path(directory))
        for recipe in asked.recipes.split(","):
            rates |= measure(recipe, work, asked.steps)
    told["samples_per_second"] = rates
    print(table(("recipe", "samples/s"), list(rates.items())))
    keep(told, asked.json)


if __name__ == "__main__":
    main()
