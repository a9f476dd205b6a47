"""Shows the promises of docs/reliability.md on real Apache Kafka while faults are made, each as a gate.

    python -m benchmarks.chaos [--gates G1,G5] [--seed 7] [--short] [--json FILE]

Exit code 1 if a gate fails. The seed makes the events and the faults; when a fault meets an event is up to the machine.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.chaos.alone import play_alone
from benchmarks.chaos.arena import Run
from benchmarks.chaos.gates import GATES
from benchmarks.chaos.verdict import HEADER, Verdict, rows
from benchmarks.machine import machine
from benchmarks.report import keep, table


def play(names: Sequence[str], seed: int, *, short: bool) -> Iterator[Verdict]:
    """Run gates one after the other, each in a process of its own."""
    for name in names:
        print(f"{name} (seed {seed}{', short' if short else ''}) …", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"chaos-{name}-") as directory:
            verdict = play_alone(name, Run(Path(directory), seed, short))
        for problem in verdict.problems:
            print(f"  {problem}", flush=True)
        yield verdict


def main() -> int:
    """Run the chosen gates, print the table, keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--gates", default="all", help="Which, separated by commas.")
    parser.add_argument("--seed", type=int, default=7, help="Of events and faults.")
    parser.add_argument("--short", action="store_true", help="A minute or two for each.")
    parser.add_argument("--json", type=Path, help="Gets the figures.")
    options = parser.parse_args()
    names = list(GATES) if options.gates == "all" else options.gates.split(",")
    if unknown := [name for name in names if name not in GATES]:
        parser.error(f"no gates {', '.join(unknown)}; there are all, {', '.join(GATES)}")
    # So that a stopped run takes its gate with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    verdicts: list[Verdict] = []
    try:
        verdicts.extend(play(names, options.seed, short=options.short))
    finally:  # also of a run that is stopped
        print(table(HEADER, rows(verdicts)))
        keep({"machine": machine(), "gates": {one.gate: one.document() for one in verdicts}}, options.json)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
