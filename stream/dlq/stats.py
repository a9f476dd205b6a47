"""How many dead letters there are, by what and since when."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from stream.dlq.letters import Letter
from stream.dlq.show import columns, hour_text


@dataclass(slots=True)
class Stats:
    """Counts of the letters that it was shown."""

    letters: int = 0
    replayed: int = 0
    cut: int = 0
    again: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    topics: Counter[str] = field(default_factory=Counter)
    #: By hour of writing, UTC ms of its begin.
    hours: Counter[int] = field(default_factory=Counter)

    def show(self, letter: Letter, *, was_replayed: bool) -> None:
        """Count one."""
        self.letters += 1
        self.replayed += was_replayed
        self.cut += letter.is_cut
        self.again += letter.attempt > 1
        self.reasons[letter.reason] += 1
        self.topics[letter.topic] += 1
        self.hours[letter.timestamp_ms // 3_600_000 * 3_600_000] += 1

    def document(self) -> dict[str, Any]:
        """For a program to read; largest counts first, hours in order."""
        return {
            "letters": self.letters,
            "replayed": self.replayed,
            "cut": self.cut,
            "rejected_again": self.again,
            "by_reason": dict(self.reasons.most_common()),
            "by_topic": dict(self.topics.most_common()),
            "by_hour": {hour_text(hour): self.hours[hour] for hour in sorted(self.hours)},
        }

    def text(self) -> str:
        """For a person to read."""
        head = (
            f"{self.letters} dead letters: {self.replayed} replayed, {self.cut} cut, "
            f"{self.again} rejected again after a replay"
        )
        document = self.document()
        parts = [
            columns([(f"by {name}", "letters"), *((key, str(count)) for key, count in counts.items())])
            for name, counts in (
                ("reason", document["by_reason"]),
                ("topic", document["by_topic"]),
                ("hour (UTC)", document["by_hour"]),
            )
            if counts
        ]
        return "\n\n".join([head, *parts])
