"""SCORE with all that it needs: lanes and who swaps them, campaigns, and the scoring loop."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from stream.clock import Clock, StreamTime
from stream.compacted import CompactedTopicReader, EndOffsets
from stream.due import DueUsers
from stream.erasure.burial import Burial
from stream.errors import TransientError
from stream.events import CAMPAIGNS_TOPIC
from stream.kafka_client import client_kwargs
from stream.lane import LaneParts
from stream.lanes import Lanes
from stream.metrics import Metrics
from stream.model.images import read_images
from stream.model.probe import probe
from stream.model.vectors import VectorCache
from stream.pacing import ScorePace
from stream.rollout_follower import RolloutFollower
from stream.scorer import ScoreParts, Scorer
from stream.scoring import Scoring, ScoringParts
from stream.sender import BatchSender
from stream.settings import Settings
from stream.stores.backend import PartitionStore
from stream.texts import TextCatalog
from stream.topic_specs import USER_SCORES, changelog_topic

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
        self.lanes = Lanes(parts.clock, parts.metrics, settings.rollout.bounds())
        self._follower = RolloutFollower(
            LaneParts(
                settings,
                parts.clock,
                parts.metrics,
                VectorCache(settings.model.cached_vectors),
                self.lanes.judged,
                None if settings.model.images is None else read_images(settings.model.images),
            ),
            self.lanes,
            parts.sender,
            end_offsets,
        )
        self.reader = CompactedTopicReader(
            CAMPAIGNS_TOPIC,
            client_kwargs(settings.kafka),
            lambda key, value, _partition, _offset: self.lanes.on_campaign(key, value),
            end_offsets=end_offsets,
        )
        self._scorer = Scorer(
            ScoreParts(
                parts.behaviour, parts.scores, parts.texts, parts.sender, self.lanes, parts.time, parts.clock,
                parts.metrics, parts.burial, settings.consent.purposes(),
            ),
            settings.score,
            changelog_topic(settings.app_id, USER_SCORES),
        )  # fmt: skip
        self.scoring = Scoring(
            ScoringParts(
                self._scorer, parts.due, parts.pace, parts.behaviour, parts.scores, parts.time, parts.clock,
                self.lanes.version_for,
            ),
            settings.score,
            settings.model,
            generation,
            failed,
        )  # fmt: skip
        self.lanes.changed = self.scoring.versions_changed
        self._clock = parts.clock
        self._model_problem: str | None = "the model was not probed yet"
        self._upkeep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load versions and campaigns, then keep creatives encoded, the model probed and the rollout followed.

        Raises:
            FatalError: The repository does not hold the champion, or it does not fit.
        """
        await self._follower.start()
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
        await self._follower.stop()
        await self._scorer.comparing.stop()
        await self.lanes.close()

    def problems(self) -> list[str]:
        """Why users are not scored by the model; empty if they are."""
        problems = self.scoring.problems()
        if not self.reader.alive:
            problems.append(f"{CAMPAIGNS_TOPIC} is not being read: {self.reader.last_error}")
        problems.extend(
            problem for problem in (self._model_problem, self._follower.problem) if problem is not None
        )
        return problems

    async def _keep_up(self) -> None:
        while True:
            await self._follow()
            champion = self.lanes.champion
            problem = await probe(champion.model, champion.bundle.labels)
            self._model_problem = None if problem is None else str(problem)
            await champion.reviver.look()
            for lane in self.lanes.all():
                if lane is not champion or problem is None:
                    await lane.campaigns.encode_missing(lane.encoder)
            await self._clock.sleep(_UPKEEP_SECONDS)

    async def _follow(self) -> None:
        try:
            await self._follower.follow()
            await self._follower.judge()
        except TransientError as error:
            log.warning("rollout_not_written", error=str(error))
