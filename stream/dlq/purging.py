"""What a purge of dead letters takes: Kafka deletes a partition's records from its beginning, never out of the middle."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream.dlq.letters import Letter, Place


@dataclass(slots=True)
class Purge:
    """Counts what goes, of the letters that it is shown in the order of their partitions.

    Args:
        before_ms: Each partition loses what stands before its first letter of this time (UTC ms) or later.
        through: Or: the last offset that goes, by partition.
    """

    before_ms: int | None = None
    through: Mapping[int, int] = field(default_factory=dict)
    #: Offset of the first record that stays, by partition.
    before: dict[int, int] = field(default_factory=dict)
    letters: int = 0
    #: Of them, letters that were never replayed.
    waiting: int = 0
    _ended: set[int] = field(default_factory=set)

    def show(self, letter: Letter, *, was_replayed: bool) -> None:
        """Count it, if it goes."""
        partition, offset = letter.place
        if partition in self._ended or not self._takes(letter):
            self._ended.add(partition)
            return
        self.before[partition] = offset + 1
        self.letters += 1
        self.waiting += not was_replayed

    def _takes(self, letter: Letter) -> bool:
        if self.before_ms is not None:
            return letter.timestamp_ms < self.before_ms
        return letter.place.offset <= self.through.get(letter.place.partition, -1)


def last_offsets(places: Iterable[Place]) -> dict[int, int]:
    """The largest offset of each partition."""
    return dict(sorted(places))


def purge_text(purge: Purge, *, done: bool) -> str:
    """What was or would be deleted, in words."""
    if not purge.letters:
        return "no dead letter stands before that; nothing is deleted"
    head = f"{'deleted' if done else 'would delete'} {_count(purge.letters)}, {purge.waiting} of them never replayed:"
    parts = [
        f"partition {partition} before offset {offset}" for partition, offset in sorted(purge.before.items())
    ]
    tail = "" if done else "\nnothing was deleted; add --yes to do it"
    return f"{head} {', '.join(parts)}{tail}"


def _count(letters: int) -> str:
    return f"{letters} dead letter{'' if letters == 1 else 's'}"
