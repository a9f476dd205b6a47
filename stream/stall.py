"""What stands still although there is something to do; pure, the time is passed in.

Only time that was watched counts: while the broker could not be asked, or the process was frozen, nobody knows
whether there was something to do, and a worker must not end itself for it.
"""

from collections.abc import Mapping
from typing import NamedTuple

#: Topic and partition.
Place = tuple[str, int]


class Position(NamedTuple):
    """How far one partition is read, and where its log ends."""

    offset: int
    end_offset: int


class Stall(NamedTuple):
    """A partition that stands still."""

    place: Place
    position: Position
    seconds: float


class Stopwatch:
    """For how long something was behind without any progress.

    Args:
        longest_step_seconds: A longer gap between two looks counts for this much only.
    """

    def __init__(self, longest_step_seconds: float) -> None:
        self._longest_step = longest_step_seconds
        self._looked_at = 0.0
        self._progress: object = None
        self._was_behind = False
        self.seconds = 0.0

    def look(self, now: float, progress: object, *, behind: bool) -> float:
        """Take note of what is seen now (monotonic seconds) and give the age of the stall, 0 if there is none."""
        if behind and self._was_behind and progress == self._progress:
            self.seconds += min(now - self._looked_at, self._longest_step)
        else:
            self.seconds = 0.0
        self._looked_at, self._progress, self._was_behind = now, progress, behind
        return self.seconds


class StallWatch:
    """A stopwatch for each partition."""

    def __init__(self, longest_step_seconds: float) -> None:
        self._longest_step = longest_step_seconds
        self._watches: dict[Place, Stopwatch] = {}
        self._positions: dict[Place, Position] = {}

    def look(self, now: float, positions: Mapping[Place, Position]) -> None:
        """Take note of where the partitions are; ones that are not named are forgotten."""
        self._watches = {
            place: self._watches.get(place) or Stopwatch(self._longest_step) for place in positions
        }
        self._positions = dict(positions)
        for place, position in positions.items():
            behind = position.offset < position.end_offset
            self._watches[place].look(now, position.offset, behind=behind)

    def ages(self) -> dict[Place, float]:
        """For how long each partition has stood still, in seconds."""
        return {place: watch.seconds for place, watch in self._watches.items()}

    def longest(self) -> Stall | None:
        """The partition that has stood still for longest, if one does."""
        ages = self.ages()
        place = max(ages, key=lambda place: (ages[place], place), default=None)
        if place is None or ages[place] == 0.0:
            return None
        return Stall(place, self._positions[place], ages[place])
