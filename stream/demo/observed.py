"""All that a run of the demo sees: what it sent, what the worker measures, what comes out."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from stream.clock import Clock
from stream.demo.figures import (
    DATA_SET,
    Summary,
    View,
    cache_hit_ratio,
    folded,
    freshness_ms,
    topic_figures,
    whole,
)
from stream.demo.gauges import Gauges
from stream.demo.outputs import Outputs
from stream.demo.phrases import Titles, decision_phrase, update_phrase
from stream.demo.samples import NOTHING, Buckets, Samples, since
from stream.events import DEAD_LETTER_TOPIC, DECISIONS_TOPIC, UPDATES_TOPIC
from stream.replay.pace import Pace
from stream.replay.producer import ReplayStats
from stream.replay.recording import Recording

_SHOWN: Final = 8
_FRESHNESS: Final = "freshness_seconds"


@dataclass(slots=True)
class Milestones:
    """Monotonic seconds; None until it came."""

    began: float
    ready: float
    paced: float | None = None
    paced_until: float | None = None


class Remaining(NamedTuple):
    """Work between what was sent and what came out."""

    unfolded: int
    due: int
    unread: int


class Observed:
    """Makes pictures and the sum of one run."""

    def __init__(
        self, recording: Recording, gauges: Gauges, outputs: Outputs, titles: Titles, times: Milestones
    ) -> None:
        self.recording = recording
        self.pace: Pace = recording.pace()
        self.stats = ReplayStats()
        self.gauges = gauges
        self.outputs = outputs
        self.times = times
        self._titles = titles
        self._before_paced: Samples = NOTHING

    async def begin_paced(self, clock: Clock) -> None:
        """From here on freshness counts."""
        self._before_paced = await self.gauges.start_anew()
        self.times.paced = clock.monotonic_seconds()

    def history_share(self) -> float:
        """How much of the history's time was sent, from 0 to 1."""
        begin, end = self.pace.history_start_ms, self.pace.start_ms
        return (min(max(self.stats.virtual_ms, begin), end) - begin) / max(end - begin, 1)

    def remaining(self) -> Remaining:
        """What is still to be done with what was sent."""
        samples = self.gauges.latest
        unread = samples.total("interest_updates_total") - self.outputs.counts[UPDATES_TOPIC]
        unfolded = self.stats.sent - folded(samples)
        return Remaining(max(int(unfolded), 0), int(samples.total("due_users")), max(int(unread), 0))

    def view(self, now: float, seconds: float | None) -> View:
        """The present picture of the paced part."""
        gauges, counts, times = self.gauges, self.outputs.counts, self.times
        recent = since(gauges.earlier.buckets(_FRESHNESS), gauges.latest.buckets(_FRESHNESS))
        return View(
            virtual_ms=self.stats.virtual_ms if times.paced_until else self.pace.virtual_ms(now),
            speed=self.recording.speed,
            users=self.recording.users,
            elapsed_seconds=now - (times.paced or now),
            seconds=seconds,
            topics=topic_figures(self.stats.sent_by_topic, gauges.rates("events_total", "topic")),
            updates=counts[UPDATES_TOPIC],
            decisions=counts[DECISIONS_TOPIC],
            dead_letters=counts[DEAD_LETTER_TOPIC],
            freshness_p50_ms=freshness_ms(recent, 0.5),
            freshness_p99_ms=freshness_ms(recent, 0.99),
            model_calls=int(gauges.latest.total("model_calls_total")),
            model_calls_per_second=gauges.rate("model_calls_total"),
            cache_hit_ratio=cache_hit_ratio(gauges.latest),
            due_users=int(gauges.latest.total("due_users")),
            latest_updates=[update_phrase(update) for update in self.outputs.latest(UPDATES_TOPIC, _SHOWN)],
            latest_decisions=[
                decision_phrase(decision, self._titles)
                for decision in self.outputs.latest(DECISIONS_TOPIC, _SHOWN)
            ],
        )

    def summary(self, now: float, *, caught_up: bool, interrupted: bool) -> Summary:
        """The sum of the run."""
        samples, stats, counts, times = self.gauges.latest, self.stats, self.outputs.counts, self.times
        fresh = self._paced_freshness()
        first = self.outputs.first_update_at
        paced = times.paced or now
        return Summary(
            data=DATA_SET,
            users=self.recording.users,
            speed=self.recording.speed,
            virtual_from=_iso(self.pace.history_start_ms),
            virtual_until=_iso(stats.virtual_ms),
            events=whole(stats.sent_by_topic),
            events_total=stats.sent,
            history_events=stats.history,
            generated_events=stats.generated,
            outcomes=whole(samples.by_label("events_total", "outcome")),
            updates=counts[UPDATES_TOPIC],
            updates_by_source=whole(samples.by_label("interest_updates_total", "source")),
            decisions=counts[DECISIONS_TOPIC],
            decisions_filled=int(samples.by_label("ad_decisions_total", "filled").get("true", 0)),
            dead_letters=counts[DEAD_LETTER_TOPIC],
            model_calls=int(samples.total("model_calls_total")),
            cache_hit_ratio=cache_hit_ratio(samples),
            freshness_p50_ms=freshness_ms(fresh, 0.5),
            freshness_p99_ms=freshness_ms(fresh, 0.99),
            freshness_count=int(fresh[-1][1]) if fresh else 0,
            started_seconds=round(times.ready - times.began, 1),
            first_update_seconds=None if first is None else round(first - times.began, 1),
            history_seconds=round(paced - times.ready, 1),
            paced_seconds=round((times.paced_until or now) - paced, 1),
            total_seconds=round(now - times.began, 1),
            caught_up=caught_up,
            interrupted=interrupted,
        )

    def _paced_freshness(self) -> Buckets:
        if self.times.paced is None:
            return []
        return since(self._before_paced.buckets(_FRESHNESS), self.gauges.latest.buckets(_FRESHNESS))


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="seconds")
