"""SCORE with all that it needs: model repository, Triton client, vector cache, campaigns, and the scoring loop."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from stream.ads.decide import AdPolicy
from stream.ads.response import ResponseModel
from stream.ads.snapshot import InterestRows
from stream.app import USER_SCORES, changelog_topic
from stream.campaigns import Campaigns
from stream.clock import Clock, StreamTime
from stream.compacted import CompactedTopicReader, EndOffsets
from stream.due import DueUsers
from stream.erasure.burial import Burial
from stream.errors import ConfigurationError
from stream.events import CAMPAIGNS_TOPIC
from stream.kafka_client import client_kwargs
from stream.metrics import Metrics
from stream.model.access import triton_access
from stream.model.control import RepositoryControl
from stream.model.probe import probe
from stream.model.repository import ModelBundle, load_bundle
from stream.model.reviver import Reviver
from stream.model.triton import CallPolicy, TritonModel
from stream.model.vectors import TextEncoder, VectorCache
from stream.pacing import ScorePace
from stream.results import ResultRules
from stream.scorer import ScoreParts, Scorer
from stream.scoring import Scoring, ScoringParts
from stream.sender import BatchSender
from stream.settings import AdSettings, ModelSettings, Settings
from stream.stores.backend import PartitionStore
from stream.texts import TextCatalog

log = structlog.get_logger(__name__)

#: Between looks for creatives that are not encoded yet, and between probes of the model.
_UPKEEP_SECONDS = 5.0


class SharedParts(NamedTuple):
    """What FOLD and SCORE both work with."""

    behaviour: PartitionStore
    scores: PartitionStore
    sender: BatchSender
    due: DueUsers
    pace: ScorePace
    texts: TextCatalog
    time: StreamTime
    clock: Clock
    metrics: Metrics
    burial: Burial


class MetricsObserver:
    """Counts what the model client tells; see ``stream.model.observer``."""

    def __init__(self, metrics: Metrics, reviver: Reviver) -> None:
        self._metrics = metrics
        self._reviver = reviver

    def call_ended(self, model: str, outcome: str, rows: int, seconds: float) -> None:
        """A call of the server ended."""
        self._reviver.call_ended(model, outcome)
        self._metrics.model_calls.labels(model, outcome).inc()
        self._metrics.model_seconds.labels(model).observe(seconds)
        self._metrics.model_rows.labels(model).observe(rows)

    def call_held_back(self, model: str) -> None:
        """The breaker kept a call from being made."""
        self._metrics.model_calls.labels(model, "held_back").inc()

    def breaker_moved(self, model: str, *, is_open: bool) -> None:
        """The breaker opened or closed."""
        self._metrics.breaker_open.labels(model).set(1 if is_open else 0)
        log.warning("breaker_moved", model=model, is_open=is_open)

    def vectors_looked_up(self, hits: int, misses: int, held: int) -> None:
        """The vector cache was asked."""
        self._metrics.vector_hits.inc(hits)
        self._metrics.vector_misses.inc(misses)
        self._metrics.vectors_cached.set(held)


class ScoreService:
    """Builds SCORE from the settings and runs it; ``scoring`` is its loop."""

    def __init__(
        self,
        settings: Settings,
        parts: SharedParts,
        generation: Callable[[], int],
        failed: Callable[[BaseException], None],
        end_offsets: EndOffsets,
    ) -> None:
        model = settings.model
        self.bundle = load_bundle(model.repository)
        _require_level(settings, self.bundle)
        self._reviver = Reviver(repository_control(model), parts.clock, parts.metrics)
        observer = MetricsObserver(parts.metrics, self._reviver)
        self.model = TritonModel(
            model.grpc_url,
            self.bundle,
            policy=CallPolicy(model.deadline_seconds),
            clock=parts.clock,
            observer=observer,
            access=triton_access(model),
        )
        self.encoder = TextEncoder(
            self.model, self.bundle.encoder_version, VectorCache(model.cached_vectors), observer=observer
        )
        privacy = settings.privacy_rules()
        interests = InterestRows(self.bundle.row_by_category, self.bundle.interest_vectors, privacy.sensitive)
        self.campaigns = Campaigns(interests, parts.metrics)
        self.reader = CompactedTopicReader(
            CAMPAIGNS_TOPIC,
            client_kwargs(settings.kafka),
            lambda key, value, _partition, _offset: self.campaigns.on_record(key, value),
            end_offsets=end_offsets,
        )
        scorer = Scorer(
            ScoreParts(
                parts.behaviour, parts.scores, parts.texts, parts.sender, self.model, self.encoder,
                self.campaigns, parts.time, parts.clock, parts.metrics, parts.burial,
            ),
            ResultRules(
                bundle=self.bundle,
                settings=settings.score,
                policy=ad_policy(settings.ads) if settings.ads.enabled else None,
                response=ResponseModel.from_manifest({"ad_response": self.bundle.ad_response}),
                privacy=privacy,
            ),
            changelog_topic(settings.app_id, USER_SCORES),
        )  # fmt: skip
        self.scoring = Scoring(
            ScoringParts(
                scorer, parts.due, parts.pace, parts.behaviour, parts.scores, parts.time, parts.clock
            ),
            settings.score,
            model,
            generation,
            failed,
        )
        self._clock = parts.clock
        self._model_problem: str | None = "the model was not probed yet"
        self._upkeep: asyncio.Task[None] | None = None
        for version in (self.bundle.encoder, self.bundle.head):
            parts.metrics.model_info.labels(version.name, version.version).set(1)
            parts.metrics.breaker_open.labels(version.name).set(0)

    async def start(self) -> None:
        """Load the campaigns, then keep creatives encoded and the model probed."""
        await self.reader.start()
        await self.reader.ready.wait()
        self._upkeep = asyncio.create_task(self._keep_up(), name="score-upkeep")

    async def stop(self) -> None:
        """Finish what is in hand and close the connections."""
        await self.scoring.stop()
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self.reader.stop()
        await self.encoder.close()
        await self.model.close()

    def problems(self) -> list[str]:
        """Why users are not scored by the model; empty if they are."""
        problems = self.scoring.problems()
        if not self.reader.alive:
            problems.append(f"{CAMPAIGNS_TOPIC} is not being read: {self.reader.last_error}")
        if self._model_problem is not None:
            problems.append(self._model_problem)
        return problems

    async def _keep_up(self) -> None:
        while True:
            problem = await probe(self.model, self.bundle.labels)
            self._model_problem = None if problem is None else str(problem)
            await self._reviver.look()
            if problem is None:
                await self.campaigns.encode_missing(self.encoder)
            await self._clock.sleep(_UPKEEP_SECONDS)


def ad_policy(settings: AdSettings) -> AdPolicy:
    """The account's policy from the settings."""
    return AdPolicy(
        floor_cpm=settings.floor_cpm,
        cap_impressions=settings.cap_impressions,
        cap_span_ms=settings.cap_span_hours * 3_600_000,
        reservation_ms=settings.reservation_minutes * 60_000,
        explore_ratio=settings.explore_ratio,
    )


def repository_control(settings: ModelSettings) -> RepositoryControl | None:
    """Triton's repository control, if the settings allow it by naming its key."""
    key = settings.admin_key.get_secret_value() if settings.admin_key else ""
    return RepositoryControl(settings.grpc_url, key) if key else None


def _require_level(settings: Settings, bundle: ModelBundle) -> None:
    if settings.window.interest_level != bundle.interest_level:
        raise ConfigurationError(
            f"INTERESTFLOW_WINDOW__INTEREST_LEVEL is {settings.window.interest_level}, the model was trained with "
            f"{bundle.interest_level}: profiles would count other categories than it scores; set it to "
            f"{bundle.interest_level}"
        )
