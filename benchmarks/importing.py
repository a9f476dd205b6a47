"""An import and the sampling of a made shop of many rows: time, and the peak of memory, beside a tenth of the rows.

    python -m benchmarks.importing [--json FILE] [--rows 480000]

Each command runs in a process of its own, with the interpreter that runs this; it needs the trainer's environment. What
a command takes that does nothing (the libraries) is measured beside it. See docs/fine-tune.md.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.machine import machine, versions
from benchmarks.report import keep, table
from stream.clock import SystemClock
from tests.shop_files import FIRST_DAY, MAPPING, write_shop

#: As that of the tests, but its prices say no currency.
_MAPPING: Final = MAPPING.replace('currency = "EUR"\n', "")
_DAYS: Final = 182
_LINES_PER_ORDER: Final = 4
_ORDERS_PER_USER: Final = 40
_CATEGORIES: Final = 100
_PRODUCTS: Final = 20
_DISTRIBUTIONS: Final = ("duckdb", "pyarrow", "numpy")


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def rows(count: int, seed: int = 7) -> Iterator[tuple[str, ...]]:
    """Lines of orders in no order of user or time, as an export may have them."""
    draw = random.Random(seed)
    users = max(count // (_LINES_PER_ORDER * _ORDERS_PER_USER), 50)
    for order in range(count // _LINES_PER_ORDER):
        user = draw.randrange(users)
        at = FIRST_DAY + timedelta(seconds=draw.randrange(_DAYS * 86_400))
        for _ in range(_LINES_PER_ORDER):
            category = (user * 7 + draw.randrange(12)) % _CATEGORIES
            product = f"{category}-{draw.randrange(_PRODUCTS)}"
            yield (
                f"o{order}",
                f"user-{user}",
                at.strftime("%Y-%m-%d %H:%M:%S"),
                f"sku-{product}",
                f"product {product}",
                f"department {category // 10}",
                f"category {category}",
                f"{1 + category}.50",
                "1",
            )


def cost(arguments: Sequence[str], directory: Path) -> Cost:
    """Run a command of the trainer; it must succeed."""
    clock = SystemClock()
    began = clock.monotonic_seconds()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.cli", *arguments], env=environment, stdout=log, stderr=log
        )
        _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code:
        raise SystemExit(f"{' '.join(arguments)} failed: {(directory / 'log').read_text(errors='replace')}")
    seconds = clock.monotonic_seconds() - began
    return Cost(round(seconds, 1), round(used.ru_utime + used.ru_stime, 1), round(used.ru_maxrss / 1024))


def measure(count: int, directory: Path) -> dict[str, Any]:
    """Import and sample so many rows."""
    orders, mapping = write_shop(directory, rows(count), _MAPPING)
    archive, work = str(directory / "shop"), str(directory / "run")
    imported = cost(["events", "import", "--mapping", str(mapping), "--out", archive, str(orders)], directory)
    sampled = cost(["samples", "--events", archive, "--work", work], directory)
    return {
        "rows": count,
        "csv_mb": round(orders.stat().st_size / 1e6, 1),
        "import": imported._asdict(),
        "import_rows_per_second": round(count / imported.seconds),
        "samples": sampled._asdict(),
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--rows", type=int, default=480_000)
    asked = parser.parse_args()
    told: dict[str, Any] = {"machine": machine(), "versions": versions(_DISTRIBUTIONS), "runs": []}
    with tempfile.TemporaryDirectory() as directory:
        told["idle"] = cost(["events", "--help"], Path(directory))._asdict()
    for count in (asked.rows // 10, asked.rows):
        with tempfile.TemporaryDirectory() as directory:
            told["runs"].append(measure(count, Path(directory)))
    lines: list[tuple[object, ...]] = [("nothing", 0, *told["idle"].values())]
    for run in told["runs"]:
        lines += [(step, run["rows"], *run[step].values()) for step in ("import", "samples")]
    print(table(("step", "rows", "seconds", "CPU seconds", "peak MB"), lines))
    keep(told, asked.json)


if __name__ == "__main__":
    main()
