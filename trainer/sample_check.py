"""Whether samples say what a worker would have seen: an archive through both, compared at drawn moments."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from stream.archive.description import InterestChoice
from trainer.bundles import BundleFold
from trainer.dates import seconds
from trainer.events.reading import stored_records
from trainer.record import Plan, plan_samples
from trainer.samples import Snapshot

_SHOWN: Final = 20


class CheckSize(NamedTuple):
    """How much is compared."""

    moments: int = 20
    #: At each moment.
    users: int = 200
    #: Most records in a bundle.
    bundle: int = 500
    seed: int = 7


class Mismatch(NamedTuple):
    """A column of a user's features that differs."""

    user_id: str
    at_ms: int
    column: str


class Checked(NamedTuple):
    """What was compared, and what differed."""

    comparisons: int
    users: int
    cutoffs: int
    mismatches: list[Mismatch]

    def document(self) -> dict[str, Any]:
        """As JSON has it; of many mismatches the first."""
        return {
            "comparisons": self.comparisons,
            "users": self.users,
            "cutoffs": self.cutoffs,
            "mismatches": len(self.mismatches),
            "first_mismatches": [mismatch._asdict() for mismatch in self.mismatches[:_SHOWN]],
        }


def check_samples(
    archive: Path,
    size: CheckSize,
    choice: InterestChoice | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Replay an archive through the sample maker and through a worker's steps; columns must be equal to the last bit.

    Args:
        archive: A finished one.
        size: How much is compared, where.
        choice: As for the samples.
        advance: Told how many records more were replayed.

    Raises:
        TrainerError: As for the samples.
    """
    plan = plan_samples(archive, choice)
    worker = BundleFold(plan.recorder.labels, size.bundle)
    draw = np.random.default_rng(size.seed)
    moments = _moments(plan, size, draw)
    users: set[str] = set()
    mismatches: list[Mismatch] = []
    count = 0

    def compare(now_ms: int) -> None:
        nonlocal count
        worker.settle()
        drawn = draw.choice(len(plan.users), min(size.users, len(plan.users)), replace=False)
        mismatches.extend(_compared(plan, worker, drawn.tolist(), now_ms))
        users.update(plan.users[place] for place in drawn)
        count += len(drawn)

    waiting = moments.copy()
    for record in stored_records(archive):
        while waiting and record.timestamp >= waiting[0]:
            compare(waiting.pop(0))
        plan.recorder.fold(record)
        worker.receive(record)
        advance(1)
    for now_ms in waiting:
        compare(now_ms)
    return Checked(count, len(users), len(moments), mismatches)


def _moments(plan: Plan, size: CheckSize, draw: np.random.Generator) -> list[int]:
    """Drawn between the first fit cutoff and the end, among them the validation cutoff itself."""
    first, end = seconds(plan.calendar.first_fit), plan.calendar.end_seconds
    drawn = draw.integers(first * 1000, end * 1000, size.moments - 1).tolist()
    return sorted([seconds(plan.calendar.validation) * 1000, *drawn])


def _compared(plan: Plan, worker: BundleFold, places: list[int], now_ms: int) -> Iterator[Mismatch]:
    recorder = plan.recorder
    sampled = recorder.read(now_ms)
    texts = list(recorder.text_rows)
    for place in places:
        user = plan.users[place]
        snapshot, words = worker.read(user, now_ms)
        for column in _different(sampled.of(np.array([place])), snapshot):
            yield Mismatch(user, now_ms, column)
        if [texts[row] for row in sampled.window_texts[place] if row >= 0] != words:
            yield Mismatch(user, now_ms, "window_texts")


def _different(ours: Snapshot, theirs: Snapshot) -> list[str]:
    return [
        name
        for name in Snapshot._fields
        if name != "window_texts" and not np.array_equal(getattr(ours, name), getattr(theirs, name))
    ]
