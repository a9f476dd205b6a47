"""G2: FOLD in process, with crashes, repeats and rebalances between any two of its steps."""

import asyncio

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.chaos.arena import Run
from benchmarks.chaos.verdict import Verdict
from stream.clock import SystemClock
from tests.fold_machine import FoldMachine, walk

_clock = SystemClock()


async def fold_under_faults(run: Run) -> Verdict:
    """G2: no broker; its place is taken by a log that keeps what it is given."""
    began = _clock.monotonic_seconds()
    FoldMachine.actions.clear()
    problems: list[str] = []
    # It has event loops of its own.
    await asyncio.to_thread(_machines, run, problems)
    return Verdict(
        "G2",
        "states are those of one pure fold after any order of crashes, repeats and rebalances",
        {
            "events_in": FoldMachine.actions["produce"],
            "actions": FoldMachine.actions.total(),
            "by_kind": dict(FoldMachine.actions),
            "differing_users": len(problems),
            "lost": len(problems),
            "counted_twice": len(problems),
            "seed": run.seed,
            "seconds": round(_clock.monotonic_seconds() - began),
        },
        problems,
    )


def _machines(run: Run, problems: list[str]) -> None:
    """Walks by chance until there were enough actions, then what Hypothesis thinks of."""
    seed = run.seed
    while FoldMachine.actions.total() < (2_000 if run.short else 20_000):
        try:
            walk(seed)
        except AssertionError as error:
            problems.append(f"walk({seed}): {str(error)[:500]}")
        seed += 1
    rules = hypothesis.settings(
        max_examples=20 if run.short else 200, stateful_step_count=40, deadline=None, database=None
    )
    try:
        run_state_machine_as_test(hypothesis.seed(run.seed)(FoldMachine), settings=rules)
    except AssertionError as error:
        problems.append(f"{error}; {error.__notes__}")
