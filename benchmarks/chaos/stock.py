"""Stock Faust and our worker under the same graceful restarts: which of the events are in the state, and how often.

    python -m benchmarks.chaos.stock [--runs 5] [--restarts 6] [--apart | --delay-ms 5] [--seed 7] [--json FILE]

Each run gives a fresh broker the same events and tells the one worker to stop in the middle of a backlog, again and again.
Stock Faust's state is the list of ids of each user, so that nothing but its own delivery decides what is in it. See
docs/reliability.md.
"""

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.chaos.restart_accounts import summary
from benchmarks.chaos.restarts import CONTESTANTS, Plan
from benchmarks.machine import machine, others_cores, read_cpu, versions
from benchmarks.report import keep, table

_COLUMNS = (
    "restarts", "restarts_with_loss", "lost", "lost_and_noted", "counted_twice", "runs_stuck", "events_in", "rate_at_most",
)  # fmt: skip


def _one(name: str, plan: Plan) -> dict[str, Any]:
    before = read_cpu()
    run = asyncio.run(CONTESTANTS[name](plan))
    told = {
        "seed": plan.seed,
        "restarts": run.restarts,
        **run.accounts._asdict(),
        "exit_codes": run.exit_codes,
    }
    return {**told, "others_cores": round(others_cores(before, read_cpu()), 2)}


def main() -> None:
    """Run both in turns, print the table, keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.chaos.stock", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--restarts", type=int, default=6)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="way to the broker, each direction")
    parser.add_argument("--apart", action="store_true", help="three brokers, changelogs all on one of them")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.apart and options.delay_ms:
        parser.error("--delay-ms has a proxy before one broker; leave it out, or --apart")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for number in range(options.runs):
        for name, done in runs.items():
            with tempfile.TemporaryDirectory(prefix="chaos-stock-") as directory:
                seed, delay = options.seed + number, options.delay_ms / 1000
                done.append(_one(name, Plan(Path(directory), seed, options.restarts, delay, options.apart)))
            print(f"{name}: {done[-1]}", flush=True)
    told = {name: summary(done) for name, done in runs.items()}
    print(
        table(
            ("", *(column.replace("_", " ") for column in _COLUMNS)),
            [
                (name, *("-" if figures[one] is None else figures[one] for one in _COLUMNS))
                for name, figures in told.items()
            ],
        )
    )
    figures = {
        "machine": machine(),
        "versions": versions(["faust-streaming", "aiokafka"]),
        "conditions": {"delay_ms": options.delay_ms, "apart": options.apart},
        "contestants": told,
    }
    keep(figures, options.json)


if __name__ == "__main__":
    main()
