"""What the demo shows while it runs, and what it sums up in the end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from stream.demo.phrases import DecisionPhrase, UpdatePhrase
from stream.demo.samples import Buckets, Samples, quantile
from stream.events import BEHAVIOUR_TOPICS

DATA_SET: Final = (
    "dunnhumby The Complete Journey (re-dated; its packager labels it simulated); click, browse and ad-dismiss events "
    "and bids are invented"
)


@dataclass(frozen=True, slots=True)
class TopicFigures:
    """One input topic."""

    topic: str
    per_second: float
    total: int


@dataclass(frozen=True, slots=True)
class View:
    """One picture of the paced part; rates and freshness are those of the last seconds."""

    virtual_ms: int
    speed: float
    users: int
    elapsed_seconds: float
    seconds: float | None
    topics: list[TopicFigures]
    updates: int
    decisions: int
    dead_letters: int
    freshness_p50_ms: float | None
    freshness_p99_ms: float | None
    model_calls: int
    model_calls_per_second: float
    cache_hit_ratio: float | None
    due_users: int
    latest_updates: list[UpdatePhrase]
    latest_decisions: list[DecisionPhrase]


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a whole run; freshness is of its paced part alone."""

    data: str
    users: int
    speed: float
    virtual_from: str
    virtual_until: str
    #: Events sent, by topic.
    events: dict[str, int]
    events_total: int
    #: Of these: before the paced part, and made up.
    history_events: int
    generated_events: int
    #: What became of them, as the worker counts.
    outcomes: dict[str, int]
    updates: int
    updates_by_source: dict[str, int]
    decisions: int
    decisions_filled: int
    dead_letters: int
    model_calls: int
    cache_hit_ratio: float | None
    freshness_p50_ms: float | None
    freshness_p99_ms: float | None
    #: Updates that freshness was measured on.
    freshness_count: int
    #: From the command's begin: until the worker was ready, and until its first update was read from Kafka.
    started_seconds: float
    first_update_seconds: float | None
    history_seconds: float
    paced_seconds: float
    total_seconds: float
    #: Whether in the end every event was folded and nobody was due.
    caught_up: bool
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return asdict(self)


def topic_figures(sent: Mapping[str, int], rates: Mapping[str, float]) -> list[TopicFigures]:
    """All behaviour topics, also those without events."""
    return [TopicFigures(topic, rates.get(topic, 0.0), sent.get(topic, 0)) for topic in BEHAVIOUR_TOPICS]


def cache_hit_ratio(samples: Samples) -> float | None:
    """Share of the texts whose vector was there already, four decimals; None if none was asked for."""
    hits, misses = samples.total("vector_cache_hits_total"), samples.total("vector_cache_misses_total")
    return round(hits / (hits + misses), 4) if hits + misses else None


def freshness_ms(buckets: Buckets, share: float) -> float | None:
    """A quantile of the freshness in ms, one decimal."""
    seconds = quantile(buckets, share)
    return None if seconds is None else round(seconds * 1000, 1)


def folded(samples: Samples) -> float:
    """Behaviour events that the worker has dealt with, whatever became of them."""
    by_topic = samples.by_label("events_total", "topic")
    return sum(by_topic.get(topic, 0.0) for topic in BEHAVIOUR_TOPICS)


def whole(counts: Mapping[str, float]) -> dict[str, int]:
    """Counts as integers, sorted by name."""
    return {name: int(count) for name, count in sorted(counts.items())}
