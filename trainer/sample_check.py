"""Whether samples say what a worker would have seen: an archive through both, compared at drawn moments."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from stream.archive.description import InterestChoice
from stream.features import HISTORY_FEATURES, USER_FEATURES
from trainer.bundles import BundleFold
from trainer.dates import seconds
from trainer.events.reading import stored_records
from trainer.record import Plan, plan_samples
from trainer.samples import Snapshot

_SHOWN: Final = 20
#: Weights are added in float32 in the order in which records are folded, and a worker folds two topics' records of one moment
#: in either order. By column: a few units in the last place of what the sample keeps.
_ROUNDING: Final = {"user": 2**-20, "history": 2**-9}
_NAMES: Final = {"user": USER_FEATURES, "history": HISTORY_FEATURES}


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
    #: Users and columns that differ in the last place alone, as the order of two topics' records decides it.
    rounded: int
    mismatches: list[Mismatch]

    def document(self) -> dict[str, Any]:
        """As JSON has it; of many mismatches the first."""
        return {
            "comparisons": self.comparisons,
            "users": self.users,
            "cutoffs": self.cutoffs,
            "rounded": self.rounded,
            "mismatches": len(self.mismatches),
            "first_mismatches": [mismatch._asdict() for mismatch in self.mismatches[:_SHOWN]],
        }


def check_samples(
    archive: Path,
    size: CheckSize,
    choice: InterestChoice | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Replay an archive through the sample maker and through a worker's steps; columns must be equal.

    What is counted or dated is equal to the last bit; sums of weights may differ in the last place.

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
    count = rounded = 0

    def compare(now_ms: int) -> None:
        nonlocal count, rounded
        worker.settle()
        drawn = draw.choice(len(plan.users), min(size.users, len(plan.users)), replace=False)
        for mismatch, is_rounding in _compared(plan, worker, drawn.tolist(), now_ms):
            if is_rounding:
                rounded += 1
            else:
                mismatches.append(mismatch)
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
    return Checked(count, len(users), len(moments), rounded, mismatches)


def _moments(plan: Plan, size: CheckSize, draw: np.random.Generator) -> list[int]:
    """Drawn between the first fit cutoff and the end, among them the validation cutoff itself."""
    first, end = seconds(plan.calendar.first_fit), plan.calendar.end_seconds
    drawn = draw.integers(first * 1000, end * 1000, size.moments - 1).tolist()
    return sorted([seconds(plan.calendar.validation) * 1000, *drawn])


def _compared(
    plan: Plan, worker: BundleFold, places: list[int], now_ms: int
) -> Iterator[tuple[Mismatch, bool]]:
    """What differs, and whether by rounding alone."""
    recorder = plan.recorder
    sampled = recorder.read(now_ms)
    texts = list(recorder.text_rows)
    for place in places:
        user = plan.users[place]
        snapshot, words = worker.read(user, now_ms)
        ours = sampled.of(np.array([place]))
        for column in _different(ours, snapshot):
            yield Mismatch(user, now_ms, column), _is_rounding(ours, snapshot, column)
        if [texts[row] for row in sampled.window_texts[place] if row >= 0] != words:
            yield Mismatch(user, now_ms, "window_texts"), False


def _different(ours: Snapshot, theirs: Snapshot) -> list[str]:
    return [
        name
        for name in Snapshot._fields
        if name != "window_texts" and not np.array_equal(getattr(ours, name), getattr(theirs, name))
    ]


def _is_rounding(ours: Snapshot, theirs: Snapshot, column: str) -> bool:
    """Whether a column's sums of weights differ in the last place, and nothing else of it."""
    if column not in _ROUNDING:
        return False
    one, other = getattr(ours, column).astype(np.float64), getattr(theirs, column).astype(np.float64)
    weighed = np.array([name.startswith("decayed_") for name in _NAMES[column]])
    return np.array_equal(one[..., ~weighed], other[..., ~weighed]) and np.allclose(
        one[..., weighed], other[..., weighed], rtol=_ROUNDING[column], atol=0.0
    )
