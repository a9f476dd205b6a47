"""The error tree; a class is chosen by what its catcher does.

::

    InterestflowError
    ├── RejectionError          this record is bad: to the dead letter, go on
    ├── TransientError          try again in place with back-off
    │   ├── ModelUnavailableError   the model can't answer now: fall back, stay due (ModelCallError: why)
    │   ├── SendAbandonedError      the partitions moved while sending: nothing is acked (stream.sender)
    │   ├── OffsetsUnknownError     the broker does not tell a group's offsets (stream.offsets)
    │   └── TopicMissingError, ReadingStalledError   a compacted topic can't be read now (stream.compacted)
    └── FatalError              stop the process; the message says what to change
        ├── ConfigurationError      settings, topics or files that don't fit (SecondWorkerError: stream.embedded)
        ├── PartitionMismatchError  co-partitioned topics differ
        ├── PartitionCountChangedError  users live on other partitions than their keys say (stream.sources)
        ├── SendFailedError         a broker refuses a record for good (stream.sender)
        ├── SourceRewoundError      an input log ends below what was already applied
        ├── ChangelogRewoundError, ChangelogTruncatedError  a kept store can't be brought up to date (stream.sources)
        ├── ChangelogLostError      the state of a partition is deleted, and no store has it (stream.sources)
        ├── WorkerStalledError      work is there and nothing gets on (stream.watchdog)
        ├── SeatTakenError          another worker has this one's static id (stream.static_member)
        ├── NoPartitionsError       more workers than partitions (stream.watchdog)
        ├── DeadLetterLimitError    almost everything of a topic is rejected
        ├── StateVersionError       state written by a version that we can't read
        ├── ModelRepositoryError    a model version that is missing, altered or mismatched
        └── EmbeddedServerError     the embedded broker or Triton could not start

A message says what is wrong, with names and values, then what to do.
"""

from collections.abc import Mapping


class InterestflowError(Exception):
    """Any error of this project."""


class RejectionError(InterestflowError):
    """A record that can't be used; carries the closed reason that its dead letter shows."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class TransientError(InterestflowError):
    """Something that is expected to work again by itself."""


class ModelUnavailableError(TransientError):
    """The model server did not give a usable answer in time."""


class FatalError(InterestflowError):
    """Something that no retry mends; the process ends and says why."""


class ConfigurationError(FatalError):
    """Settings, topics or files that contradict each other or are not known."""


class PartitionMismatchError(FatalError):
    """Topics that must be co-partitioned have different partition counts."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = dict(counts)
        listed = ", ".join(f"{topic} has {count}" for topic, count in sorted(self.counts.items()))
        super().__init__(
            f"partition counts differ: {listed}; an input and the changelogs of its tables must match: "
            "recreate the odd one or set INTERESTFLOW_KAFKA__PARTITIONS to the shared count"
        )


class SourceRewoundError(FatalError):
    """An input partition ends below an offset that is already part of the state."""

    def __init__(self, topic: str, partition: int, end_offset: int, applied_offset: int) -> None:
        self.topic = topic
        self.partition = partition
        self.end_offset = end_offset
        self.applied_offset = applied_offset
        super().__init__(
            f"{topic} partition {partition} ends at offset {end_offset}, but offset {applied_offset} is already "
            "applied to the state: the topic was recreated or truncated; if that was on purpose, raise "
            "INTERESTFLOW_KAFKA__SOURCE_EPOCH by one so that its offsets count anew"
        )


class DeadLetterLimitError(FatalError):
    """Almost everything of a topic is rejected: to go on would divert it to the dead letters."""

    def __init__(self, topic: str, share: float, rejected: Mapping[str, int], records: int) -> None:
        self.topic = topic
        self.share = share
        #: By reason, since the worker started.
        self.rejected = dict(rejected)
        self.records = records
        reason = max(sorted(self.rejected), key=self.rejected.__getitem__)
        super().__init__(
            f"{share:.0%} of the last records of {topic} were rejected, most for {reason}: {self.rejected[reason]} of "
            f"{records} since this worker started; the last bundle was neither dead-lettered nor acked. Read some "
            f"with `interestflow dlq list --topic {topic} --reason {reason}`, mend the producer or the settings and "
            "start the worker again; INTERESTFLOW_DEAD_LETTER__LIMIT_RATIO=0 dead-letters everything"
        )


class StateVersionError(FatalError):
    """A stored user state of a version that this release does not read."""

    def __init__(self, found: int, newest: int) -> None:
        self.found = found
        super().__init__(
            f"user state has encoding version {found}, this release reads up to {newest}: "
            "run the release that wrote it, or a newer one"
        )


class ModelRepositoryError(FatalError):
    """A model version that is missing, altered or doesn't match its partner."""


class EmbeddedServerError(FatalError):
    """The embedded broker or the bundled Triton could not be started."""
