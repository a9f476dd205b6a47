"""The dead-letter limit: when almost everything of a topic is bad, say so and stop rather than divert the topic.

A burst of poison must not trip it, also not one that all lies on one partition, of which a worker with a backlog gets
thousands of records at once: that would let one bad producer stop the service. So a topic is judged by the last records of
*each* of its partitions, and only after many.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stream.dead_letter import REASON_HEADER, attempt_of
from stream.errors import DeadLetterLimitError

#: A topic is judged after so many windows of records: a few of a worker's first bundles, which are of few partitions.
_JUDGED_AFTER_WINDOWS: Final = 10
#: A partition of which nothing came for so many windows of its topic's records counts no more.
_FORGOTTEN_AFTER_WINDOWS: Final = 100


class LimitRules(NamedTuple):
    """What trips the limit."""

    #: Rejected share of the last records; 0 turns the limit off.
    ratio: float = 0.9
    #: The window: last records of each partition that count.
    records: int = 1000


@dataclass(slots=True)
class _Window:
    """About the last records of one partition, as two numbers: what is older fades as newer ones come."""

    records: float = 0.0
    rejected: float = 0.0
    #: Records of the topic before its last bundle.
    at: int = 0

    def add(self, records: int, rejected: int, most: int) -> None:
        kept = min(1.0, max(0, most - records) / self.records) if self.records else 0.0
        counted = min(1.0, most / records)
        self.records = self.records * kept + records * counted
        self.rejected = self.rejected * kept + rejected * counted


@dataclass(slots=True)
class _Topic:
    """One topic since the worker started."""

    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    windows: dict[int, _Window] = field(default_factory=dict)

    def share(self, forgotten_before: int) -> float:
        counted = [window for window in self.windows.values() if window.at >= forgotten_before]
        return sum(window.rejected for window in counted) / sum(window.records for window in counted)


class DeadLetterLimit:
    """Counts what is rejected, bundle by bundle."""

    def __init__(self, rules: LimitRules) -> None:
        self._rules = rules
        self._topics: dict[str, _Topic] = {}

    def note(
        self, topic: str, partition: int, records: int, letters: Iterable[Sequence[tuple[str, bytes]]]
    ) -> None:
        """Count a bundle and the headers of its dead letters.

        What was replayed and is rejected again is not counted: a replay of the old must not stop the new.

        Raises:
            DeadLetterLimitError: If almost everything of the topic is rejected now.
        """
        ratio, most = self._rules
        if not ratio or not records:
            return
        reasons = Counter(
            dict(headers)[REASON_HEADER].decode() for headers in letters if attempt_of(headers) == 1
        )
        seen = self._topics.setdefault(topic, _Topic())
        window = seen.windows.setdefault(partition, _Window())
        window.at = seen.records
        window.add(records, reasons.total(), most)
        seen.records += records
        seen.rejected.update(reasons)
        if not reasons or seen.records < most * _JUDGED_AFTER_WINDOWS:
            return
        share = seen.share(seen.records - most * _FORGOTTEN_AFTER_WINDOWS)
        if share >= ratio:
            raise DeadLetterLimitError(topic, share, seen.rejected, seen.records)
