"""What restarts did to a log of events: which start lost what, and whether a commit that stands still is stuck or slow."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.reference_fold import Place

#: Committed offsets by topic and partition; nothing of a partition is committed if it isn't there.
Commits = Mapping[tuple[str, int], int]


class RestartAccounts(NamedTuple):
    """Of one run; lost and stuck are judged by what the group committed, not by what it did not come to."""

    events_in: int
    #: In no state, though the group committed past them: they never come again.
    lost: int
    counted_twice: int
    #: Of the starts after the first, those whose worker lost something.
    restarts_with_loss: int
    #: The first start of the group had nothing committed yet; it is counted apart.
    lost_by_first_start: int
    #: Events that the worker noted as thrown away unprocessed; most come again …
    noted: int
    #: … and these of them never did.
    lost_and_noted: int
    #: Partitions whose commit stands still in the end though events past it are in the state.
    stuck_partitions: int
    #: Events that neither the commit nor the state came to.
    not_reached: int
    #: The first lost ones, as topic/partition@offset.
    lost_at: list[str]


def restart_accounts(
    log: Mapping[Place, Hashable],
    held: Counter[Any],
    commits: Sequence[Commits],
    noted: set[Place],
) -> RestartAccounts:
    """Settle a run.

    Args:
        log: the id of each event that is in the input topics.
        held: how often each id is in the state.
        commits: at each stop of the worker, the last of them at the end of the run.
        noted: places of events that the worker noted as thrown away.
    """
    end = commits[-1]
    missing = [place for place, one in log.items() if not held[one]]
    lost = sorted(place for place in missing if place[2] < _committed(end, place))
    starts = Counter(start_of(place, commits) for place in lost)
    counts = Counter(log.values())
    return RestartAccounts(
        events_in=len(log),
        lost=len(lost),
        counted_twice=(held - counts).total(),
        restarts_with_loss=len(starts.keys() - {0}),
        lost_by_first_start=starts[0],
        noted=len(noted),
        lost_and_noted=len(noted.intersection(lost)),
        stuck_partitions=len(
            {place[:2] for place, one in log.items() if held[one] and place[2] >= _committed(end, place)}
        ),
        not_reached=len(missing) - len(lost),
        lost_at=[f"{topic}/{number}@{offset}" for topic, number, offset in lost[:40]],
    )


def start_of(place: Place, commits: Sequence[Commits]) -> int:
    """The number of the start whose worker committed past a place: the first is 0."""
    return next(number for number, told in enumerate(commits) if place[2] < _committed(told, place))


def _committed(commits: Commits, place: Place) -> int:
    return commits.get(place[:2], 0)


def rate_bound(hits: int, trials: int) -> float | None:
    """The upper 95 % bound of a rate that was never met in so many trials (rule of three); None if it was met."""
    return None if hits or not trials else min(1.0, 3 / trials)


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all runs of a contestant."""
    hits, trials = (sum(run.get(name, 0) for run in runs) for name in ("restarts_with_loss", "restarts"))
    summed = (
        "events_in",
        "lost",
        "lost_by_first_start",
        "noted",
        "lost_and_noted",
        "counted_twice",
        "stuck_partitions",
    )
    return {
        "runs": len(runs),
        "restarts": trials,
        "restarts_with_loss": hits,
        "rate_at_most": rate_bound(hits, trials),
        "runs_with_loss": sum(bool(run.get("lost")) for run in runs),
        "runs_stuck": sum(bool(run.get("stuck_partitions")) for run in runs),
        **{name: sum(run.get(name, 0) for run in runs) for name in summed},
        "each": list(runs),
    }
