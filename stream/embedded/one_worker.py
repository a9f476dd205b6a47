"""The embedded broker is for one worker: what it says of its logs and its groups is not right enough for two. Pure.

It keeps members that left or died, so that nobody can ask it beforehand whether a worker is there. But who is given all
partitions is alone, and who is not is second.
"""

from stream.errors import ConfigurationError


class SecondWorkerError(ConfigurationError):
    """Another worker has partitions of the embedded broker."""

    def __init__(self, given: int, partitions: int) -> None:
        super().__init__(
            f"this worker was given {given} of {partitions} partitions, so another one works on the embedded broker "
            "(INTERESTFLOW_KAFKA__BROKER=tansu), which is for one worker only: stop one of them, or use Apache Kafka"
        )


class OneWorker:
    """Refuses the second worker; the first waits until it has gone.

    Args:
        partitions: How many there are.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._was_alone = False

    def given(self, partitions: set[int]) -> None:
        """Take note of an assignment.

        Raises:
            SecondWorkerError: If it is not all of them, and never was.
        """
        if len(partitions) == self._partitions:
            self._was_alone = True
        elif not self._was_alone:
            raise SecondWorkerError(len(partitions), self._partitions)
