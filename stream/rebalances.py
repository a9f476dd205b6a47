"""Where a worker stands between two rebalances: begun in the consumer's thread, ended in the main one."""

from threading import Lock


class Rebalances:
    """Counts those that began, and knows for which of them partitions were given."""

    def __init__(self) -> None:
        self.begun_so_far = 0
        self._given = 0
        #: Held while one begins or ends, so that no end falls on the beginning of the next.
        self.turning = Lock()

    def begun(self) -> None:
        """Partitions begin to move; from any thread."""
        self.begun_so_far += 1

    def given(self) -> None:
        """The partitions of the one that began last are given."""
        self._given = self.begun_so_far

    def moving(self) -> bool:
        """Whether one has begun whose partitions are not given yet."""
        return self.begun_so_far != self._given
