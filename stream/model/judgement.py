"""What is known of a challenger beside its champion over the last minutes, and whether it is within its bounds.

Failures and latency are judged against the champion's in the same minutes: when Triton as a whole is ill, both are, and
taking the challenger back would mend nothing.

Pure: the time is an argument, in seconds of any clock that never goes back.
"""

from collections import deque
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.model.comparison import Compared
from stream.rollout import Role

_BUCKETS: Final = 30


class Bounds(NamedTuple):
    """What a challenger may do, over ``window_seconds``."""

    window_seconds: float = 300.0
    least_calls: int = 20
    """Before failures and latency are judged."""
    least_rows: int = 200
    """Users scored by both, before scores are judged."""
    failed_ratio: float = 0.05
    """Of its calls: each of them is a user who falls back to the champion."""
    latency_ratio: float = 2.0
    """Its mean call against the champion's."""
    latency_floor_seconds: float = 0.05
    """A mean call below this is never too slow."""
    score_ratio: float = 1.25
    """Purchases that it expects against those that the champion, who is calibrated, expects; either way."""
    score_difference: float = 0.05
    """Mean absolute difference of a score."""


class OutOfBounds(StrEnum):
    """The label of the rollbacks counter."""

    FAILED_CALLS = "failed_calls"
    LATENCY = "latency"
    SCORE_SHIFT = "score_shift"
    SCORE_DIFFERENCE = "score_difference"


class Verdict(NamedTuple):
    """A bound that was left."""

    bound: OutOfBounds
    detail: str


class Seen(NamedTuple):
    """The window's figures; None where nothing was seen."""

    calls: int
    failed_ratio: float | None
    champion_failed_ratio: float | None
    mean_seconds: float | None
    champion_mean_seconds: float | None
    rows: int
    score_difference: float | None
    overlap_ratio: float | None
    score_ratio: float | None


#: Columns of a bucket: calls, failed calls and seconds of the answered ones for each role, then the comparison's sums.
_COLUMNS: Final[dict[Role, int]] = {"champion": 0, "challenger": 3}
_COMPARED: Final = 6
_WIDTH: Final = _COMPARED + len(Compared._fields)


class Judgement:
    """Tallies over a sliding window; begun anew with every rollout."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._buckets: deque[tuple[float, NDArray[np.float64]]] = deque()

    def call_ended(self, role: Role, now_seconds: float, *, answered: bool, seconds: float) -> None:
        """A call of the head ended, or was held back."""
        bucket, column = self._bucket(now_seconds), _COLUMNS[role]
        bucket[column] += 1
        bucket[column + 1] += not answered
        bucket[column + 2] += seconds if answered else 0.0

    def compared(self, sums: Compared, now_seconds: float) -> None:
        """Some users were scored by both."""
        self._bucket(now_seconds)[_COMPARED:] += sums

    def seen(self, now_seconds: float) -> Seen:
        """The figures of the window that ends now."""
        self._forget(now_seconds)
        sums = np.zeros(_WIDTH)
        for _, bucket in self._buckets:
            sums += bucket
        champion_calls, champion_failed, champion_seconds, calls, failed, seconds = sums[:_COMPARED].tolist()
        told = Compared(*sums[_COMPARED:].tolist())
        return Seen(
            calls=int(calls),
            failed_ratio=_ratio(failed, calls),
            champion_failed_ratio=_ratio(champion_failed, champion_calls),
            mean_seconds=_ratio(seconds, calls - failed),
            champion_mean_seconds=_ratio(champion_seconds, champion_calls - champion_failed),
            rows=int(told.rows),
            score_difference=_ratio(told.difference, told.rows),
            overlap_ratio=_ratio(told.overlap, told.rows),
            score_ratio=_ratio(told.challenger_scores, told.champion_scores),
        )

    def verdict(self, now_seconds: float) -> Verdict | None:
        """The first bound that the challenger left; None while it is within all, or too little was seen."""
        seen = self.seen(now_seconds)
        if seen.calls >= self._bounds.least_calls:
            found = self._failures(seen) or self._latency(seen)
            if found is not None:
                return found
        return self._scores(seen) if seen.rows >= self._bounds.least_rows else None

    def _failures(self, seen: Seen) -> Verdict | None:
        own, champion, most = seen.failed_ratio or 0.0, seen.champion_failed_ratio, self._bounds.failed_ratio
        # Without calls of the champion no one knows whether it would do better.
        if own <= most or champion is None or champion > most:
            return None
        return Verdict(
            OutOfBounds.FAILED_CALLS,
            f"{own:.0%} of the challenger's {seen.calls} calls failed, {champion:.0%} of the champion's; "
            f"at most {most:.0%} may",
        )

    def _latency(self, seen: Seen) -> Verdict | None:
        own, champion, bounds = seen.mean_seconds, seen.champion_mean_seconds, self._bounds
        if own is None or champion is None or own <= bounds.latency_floor_seconds:
            return None
        if own <= bounds.latency_ratio * champion:
            return None
        return Verdict(
            OutOfBounds.LATENCY,
            f"a call of the challenger takes {own:.3f} s, of the champion {champion:.3f} s; "
            f"at most {bounds.latency_ratio:g} times as long may it",
        )

    def _scores(self, seen: Seen) -> Verdict | None:
        ratio, difference, bounds = seen.score_ratio, seen.score_difference, self._bounds
        if ratio is not None and not 1.0 / bounds.score_ratio <= ratio <= bounds.score_ratio:
            return Verdict(
                OutOfBounds.SCORE_SHIFT,
                f"the challenger expects {ratio:.2f} times the champion's purchases of {seen.rows} users; "
                f"{1.0 / bounds.score_ratio:.2f} to {bounds.score_ratio:.2f} times may it",
            )
        if difference is not None and difference > bounds.score_difference:
            return Verdict(
                OutOfBounds.SCORE_DIFFERENCE,
                f"scores of {seen.rows} users differ by {difference:.3f} on average; "
                f"at most {bounds.score_difference:g} may they",
            )
        return None

    def _bucket(self, now_seconds: float) -> NDArray[np.float64]:
        width = self._bounds.window_seconds / _BUCKETS
        if not self._buckets or now_seconds >= self._buckets[-1][0] + width:
            self._buckets.append((now_seconds, np.zeros(_WIDTH)))
            self._forget(now_seconds)
        return self._buckets[-1][1]

    def _forget(self, now_seconds: float) -> None:
        while self._buckets and self._buckets[0][0] < now_seconds - self._bounds.window_seconds:
            self._buckets.popleft()


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0.0 else None
