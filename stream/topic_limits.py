"""How long topics keep what people did: in their configuration, and in the check of it."""

from typing import Final, NamedTuple

_DAY_MS: Final = 86_400_000
#: What a topic needs at most; less fits as well.
_AT_MOST: Final = frozenset({"retention.ms", "max.compaction.lag.ms"})


class TopicLimits(NamedTuple):
    """How long topics keep what they must not keep for ever, ms."""

    #: Of topics of events and decisions; None leaves it to the broker.
    retention_ms: int | None = 30 * _DAY_MS
    #: From a value's replacement in a compacted topic to its removal; brokers wait without end unless told.
    compaction_ms: int = 7 * _DAY_MS

    def config(self, *, virtual_time: bool) -> tuple[dict[str, str], dict[str, str]]:
        """Configuration of the topics that are deleted from by age, and of the compacted ones; a replay keeps all."""
        if virtual_time:
            return {"retention.ms": "-1"}, {}
        retention = {} if self.retention_ms is None else {"retention.ms": str(self.retention_ms)}
        return retention, {"max.compaction.lag.ms": str(self.compaction_ms)}


DEFAULT_LIMITS: Final = TopicLimits()


def fits(name: str, found: str, wanted: str) -> bool:
    """Whether a value in force serves: the same one, or a shorter time where the longest is given."""
    return found == wanted or (name in _AT_MOST and int(wanted) > 0 and 0 <= int(found) <= int(wanted))


def bound(name: str, wanted: str) -> str:
    """What a value must be, in words."""
    return f"at most {wanted}" if name in _AT_MOST and int(wanted) > 0 else wanted
