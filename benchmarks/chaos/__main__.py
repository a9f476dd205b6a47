"""Shows the promises of docs/reliability.md on real Apache Kafka while faults are made, each as a gate.

    python -m benchmarks.chaos [--gates G1,G5] [--seed 7] [--short] [--json FILE]

Exit code 1 if a gate fails. The seed makes the events and the faults; when a fault meets an event is up to the machine.
"""

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.chaos import crashes, figures_only, logs, machine_of_faults, outages, poison, rolling
from benchmarks.chaos.arena import Run
from benchmarks.chaos.verdict import HEADER, Verdict, broken, rows
from benchmarks.machine import machine
from benchmarks.report import keep, table

Gate = Callable[[Run], Awaitable[Verdict]]
GATES: Final[Mapping[str, Gate]] = {
    "G1": crashes.nothing_lost,
    "G2": machine_of_faults.fold_under_faults,
    "G3": figures_only.recovery,
    "G5": rolling.rolling_restart,
    "G6": poison.poison,
    "G7": rolling.sigterm,
    "G8": figures_only.soak,
    "G9": figures_only.hot_key,
    "G10": logs.logs,
    "G11": outages.outages,
}


def play(names: Sequence[str], seed: int, *, short: bool) -> list[Verdict]:
    """Run gates one after the other; one that breaks off is a failed one."""
    verdicts = []
    for name in names:
        print(f"{name} (seed {seed}{', short' if short else ''}) …", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"chaos-{name}-") as directory:
            verdict = _play_one(name, Run(Path(directory), seed, short))
        for problem in verdict.problems:
            print(f"  {problem}")
        verdicts.append(verdict)
    return verdicts


def _play_one(name: str, run: Run) -> Verdict:
    try:
        return asyncio.run(_gate(name, run))
    except Exception as error:  # noqa: BLE001 - whatever breaks a gate off, the others are still worth running
        return broken(name, (GATES[name].__doc__ or name).strip(), run.seed, error)


async def _gate(name: str, run: Run) -> Verdict:
    return await GATES[name](run)


def main() -> int:
    """Run the chosen gates, print the table, keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--gates", default=",".join(GATES), help="Which, separated by commas.")
    parser.add_argument("--seed", type=int, default=7, help="Of events and faults.")
    parser.add_argument("--short", action="store_true", help="A minute at most for each.")
    parser.add_argument("--json", type=Path, help="Gets the figures.")
    options = parser.parse_args()
    names = options.gates.split(",")
    if unknown := [name for name in names if name not in GATES]:
        parser.error(f"no gates {', '.join(unknown)}; there are {', '.join(GATES)}")
    # Clients of a broker that comes and goes have a lot to say.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # So that a stopped run takes its brokers and workers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    verdicts = play(names, options.seed, short=options.short)
    print(table(HEADER, rows(verdicts)))
    keep({"machine": machine(), "gates": {one.gate: one.document() for one in verdicts}}, options.json)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
