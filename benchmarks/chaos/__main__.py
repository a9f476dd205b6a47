"""Shows the promises of docs/reliability.md on real Apache Kafka while faults are made, each as a gate.

    python -m benchmarks.chaos [--gates G1,G5] [--seed 7] [--short] [--soak-minutes 60] [--json FILE]

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


def play(names: Sequence[str], asked: Run) -> Iterator[Verdict]:
    """Run gates one after the other, each in a process and a directory of its own."""
    for name in names:
        print(f"{name} (seed {asked.seed}{', short' if asked.short else ''}) …", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"chaos-{name}-", dir=asked.directory) as directory:
            verdict = play_alone(name, asked._replace(directory=Path(directory)))
        for problem in verdict.problems:
            print(f"  {problem}", flush=True)
        yield verdict


def main() -> int:
    """Run the chosen gates, print the table, keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--gates", default="all", help="Which, separated by commas.")
    parser.add_argument("--seed", type=int, default=7, help="Of events and faults.")
    parser.add_argument("--short", action="store_true", help="A minute or two for each.")
    parser.add_argument("--soak-minutes", type=float, help="How long G8 measures.")
    parser.add_argument("--json", type=Path, help="Gets the figures.")
    options = parser.parse_args()
    names = list(GATES) if options.gates == "all" else options.gates.split(",")
    if unknown := [name for name in names if name not in GATES]:
        parser.error(f"no gates {', '.join(unknown)}; there are all, {', '.join(GATES)}")
    # So that a stopped run takes its gate with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    verdicts: list[Verdict] = []
    try:
        asked = Run(Path(tempfile.gettempdir()), options.seed, options.short, options.soak_minutes)
        verdicts.extend(play(names, asked))
    finally:  # also of a run that is stopped
        print(table(HEADER, rows(verdicts)))
        keep({"machine": machine(), "gates": {one.gate: one.document() for one in verdicts}}, options.json)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
