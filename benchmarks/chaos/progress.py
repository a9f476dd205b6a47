"""How long a partition stood still: committed offsets looked at again and again."""

from collections.abc import Mapping
from typing import Any


class Progress:
    """The longest time that a partition had something to read and its committed offset did not move.

    Pure: the time of each look is passed in, in seconds of one clock.
    """

    def __init__(self) -> None:
        self.longest_stall_seconds = 0.0
        #: Sum of the committed offsets at the last look.
        self.committed = 0
        #: Records that were not committed at the last look; None before the first.
        self.lag: int | None = None
        self._moved: dict[Any, tuple[int, float]] = {}

    def look(self, now_seconds: float, committed: Mapping[Any, int], ends: Mapping[Any, int]) -> None:
        """Take note of what the broker says."""
        for partition, end in ends.items():
            offset = committed.get(partition, 0)
            before = self._moved.get(partition)
            if before is None or before[0] != offset or offset >= end:
                self._moved[partition] = (offset, now_seconds)
            stalled = now_seconds - (now_seconds if before is None else before[1])
            if before is not None and before[0] < end:
                self.longest_stall_seconds = max(self.longest_stall_seconds, stalled)
        self.committed = sum(committed.get(partition, 0) for partition in ends)
        self.lag = sum(ends.values()) - self.committed

    def forget_stalls(self) -> None:
        """Count stalls from the next look on."""
        self.longest_stall_seconds = 0.0
        self._moved.clear()
