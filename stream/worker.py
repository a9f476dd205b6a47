"""The worker: puts FOLD, SCORE, readers, health and the Faust app together, and runs them until told to stop."""

import asyncio
import signal
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.app import AppHooks, StreamApp, build_app
from stream.assignment import Assignment, AssignmentParts
from stream.clock import StreamTime, SystemClock
from stream.collector import settle_collector
from stream.compacted import CompactedTopicReader, EndOffsets, latest_offsets
from stream.delivery_counts import DeliveryCounts
from stream.due import DueUsers
from stream.embedded.one_worker import OneWorker
from stream.embedded.tansu_highwater import install_tansu_highwater, true_end_offsets
from stream.errors import FatalError
from stream.events import TEXTS_TOPIC
from stream.fences import Ownership, build_fences
from stream.foreign_headers import read_foreign_headers
from stream.health import HealthServer
from stream.ingest import Folder, FoldParts, FoldRules
from stream.kafka_client import client_kwargs, settings_topics
from stream.lease import Lease
from stream.metrics import Metrics
from stream.offsets import GroupOffsets
from stream.pacing import ScorePace
from stream.partitioner import partitioner
from stream.score_service import ScoreService, SharedParts
from stream.sender import BatchSender
from stream.settings import Settings
from stream.short_fetches import install_short_fetches
from stream.stopping import finished_before
from stream.stores.table import open_stores
from stream.texts import TextCatalog
from stream.topic_specs import USER_BEHAVIOUR, USER_SCORES, changelog_topic
from stream.topics import require_topics
from stream.version import app_version
from stream.watchdog import Watchdog, WatchdogParts
from stream.withdrawing import build_withdrawing, due_withdrawals

log = structlog.get_logger(__name__)

#: Longest wait for the app to leave the group and flush.
_STOP_SECONDS = 20.0
#: Before that, longest wait for the bundle in hand and its commit; without them it is folded again by the next owner.
_FINISH_SECONDS = 5.0


class Worker:
    """One worker process's parts; ``run`` returns when it was told to stop, or raises what ended it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.clock = SystemClock()
        self.time = StreamTime(self.clock, virtual=settings.virtual_time)
        kafka = settings.kafka
        tables = (USER_BEHAVIOUR, USER_SCORES)
        self.behaviour, self.scores = open_stores(settings.store, tables, self.clock.wall_ms())
        self.lease = Lease(self.clock, self.metrics, kafka.session_timeout_seconds)
        self.sender = BatchSender(
            client_kwargs(kafka),
            self.clock,
            self.metrics,
            linger_ms=kafka.linger_ms,
            idempotent=kafka.broker == "kafka",
            ownership=Ownership(self.lease, build_fences(settings)),
        )
        self.due = (
            DueUsers(settings.score.min_interval_seconds)
            if settings.model.enabled
            else due_withdrawals(settings, self.behaviour, self.time.now_ms)
        )
        self.pace = ScorePace(settings.score.busy_share)
        self.texts = TextCatalog(kafka.partitions)
        self.partition_of = partitioner(kafka.partitioner, kafka.partitions)
        self.folder = Folder(
            FoldParts(
                self.behaviour, self.sender, self.due, self.pace, self.texts, self.time, self.clock, self.metrics,
                self._knows_campaign,
            ),
            FoldRules(
                policy=settings.window.policy(),
                partition_of=self.partition_of,
                source_epoch=kafka.source_epoch,
                changelog_topic=changelog_topic(settings.app_id, USER_BEHAVIOUR),
                live_users=settings.store.live_users,
                app_version=app_version(),
                virtual_time=settings.virtual_time,
                limit=settings.dead_letter.limit(),
                eviction=settings.store.eviction(),
                privacy=settings.privacy_rules(),
            ),
        )  # fmt: skip
        self.watchdog: Watchdog | None = None
        self.health = HealthServer(
            self.metrics.registry, self.problems_alive, self.problems_ready, self.refresh
        )
        self.app: StreamApp | None = None
        self.score_service: ScoreService | None = None
        self._text_reader: CompactedTopicReader | None = None
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end_offsets: EndOffsets = self._true_ends if kafka.broker == "tansu" else latest_offsets
        self.assignment = Assignment(
            AssignmentParts(
                self.behaviour, self.scores, self.partition_of, kafka.source_epoch, self.metrics, self._failed,
                self.sender, self._group_offsets().positions_once,
                OneWorker(kafka.partitions) if kafka.broker == "tansu" else None,
            )
        )  # fmt: skip
        read_foreign_headers()
        if kafka.broker == "tansu":
            install_tansu_highwater(kafka.bootstrap_servers, client_kwargs=client_kwargs(kafka))
        install_short_fetches()

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start everything, work until ``stop`` or a signal, stop everything.

        Raises:
            FatalError: What made the worker stop by itself.
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        try:
            if await finished_before(self._start(), self._stop):
                settle_collector()
                await self._stop.wait()
        finally:
            await self._shut_down()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ask ``run`` to end; bundles in hand are finished or come again."""
        self._stop.set()

    async def _start(self) -> None:
        await self.health.start(host := self.settings.health.host, self.settings.health.port)
        log.info("health_listening", host=host, port=self.health.port)
        await self._require_topics()
        await self.sender.start()
        self._text_reader = await self._read_texts()
        if self.settings.model.enabled:
            self.score_service = self._build_scoring()
            self.assignment.scoring = self.score_service.scoring
            await self.score_service.start()
        else:
            self.assignment.scoring = build_withdrawing(
                self.settings, self._shared_parts(), self._generation, self._failed
            )
        hooks = AppHooks(
            fold=self.folder.fold,
            check_positions=self.assignment.check_positions,
            take_over=self.assignment.take_over,
            check_changelogs=self.assignment.check_changelogs,
            check_seeks=self.assignment.check_seeks,
            check_recovered=self.assignment.check_recovered,
            observer=DeliveryCounts(self.metrics),
            rebalance_started=self.assignment.rebalance_started,
            rebalance_ended=self.assignment.rebalance_ended,
            revoked=self.assignment.revoked,
            recovered=self.folder.live.clear,
            read_back=self.assignment.read_back,
            failed=self._failed,
            lease=self.lease,
        )
        self.app = self.assignment.app = build_app(self.settings, hooks, self.behaviour, self.scores)
        self.app.in_worker = True
        self._start_watchdog()
        starting = asyncio.create_task(self.app.start(), name="faust-app")
        starting.add_done_callback(self._app_started)

    def _start_watchdog(self) -> None:
        parts = WatchdogParts(
            self.assignment, self._group_offsets(), self.settings.kafka.partitions, self.clock, self.metrics, self._failed,
        )  # fmt: skip
        self.watchdog = Watchdog(parts, self.settings.watchdog)
        self.watchdog.start()

    def _group_offsets(self) -> GroupOffsets:
        return GroupOffsets(self.settings.app_id, client_kwargs(self.settings.kafka), self._end_offsets)

    def _build_scoring(self) -> ScoreService:
        return ScoreService(
            self.settings, self._shared_parts(), self._generation, self._failed, self._end_offsets
        )

    def _shared_parts(self) -> SharedParts:
        return SharedParts(
            self.behaviour, self.scores, self.sender, self.due, self.pace, self.texts, self.time, self.clock,
            self.metrics, self.folder.burial,
        )  # fmt: skip

    def _knows_campaign(self, cid: str) -> bool:
        return self.score_service is None or self.score_service.lanes.champion.campaigns.knows(cid)

    def _generation(self) -> int:
        return -1 if self.app is None else int(self.app.consumer_generation_id)

    def _app_started(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def _true_ends(
        self, _: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        kafka = self.settings.kafka
        return await true_end_offsets(kafka.bootstrap_servers, partitions, client_kwargs=client_kwargs(kafka))

    async def _require_topics(self) -> None:
        """Stop with a name before anything is consumed from topics that don't fit."""
        kafka, specs = self.settings.kafka, settings_topics(self.settings)
        for note in await require_topics(kafka.bootstrap_servers, specs, client_kwargs=client_kwargs(kafka)):
            log.info("topic_not_checked", detail=note.message)

    async def _read_texts(self) -> CompactedTopicReader:
        reader = CompactedTopicReader(
            TEXTS_TOPIC,
            client_kwargs=client_kwargs(self.settings.kafka),
            on_record=lambda key, value, _partition, _offset: self.texts.on_record(key, value),
            end_offsets=self._end_offsets,
        )
        await reader.start()
        await reader.ready.wait()
        return reader

    async def _shut_down(self) -> None:
        if self.watchdog is not None:
            await self.watchdog.stop()
        await self._finish_bundle()
        if self.score_service is not None:
            await self.score_service.stop()
        elif self.assignment.scoring is not None:
            await self.assignment.scoring.stop()
        await self.sender.stop()  # before the group is left, so that nothing follows the next owner's
        if self.app is not None:
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.app.stop()
            except TimeoutError:
                log.warning("app_stop_timed_out", seconds=_STOP_SECONDS)
        if self._text_reader is not None:
            await self._text_reader.stop()
        await self.health.stop()
        self.behaviour.close()
        self.scores.close()

    async def _finish_bundle(self) -> None:
        if self.app is None or self.app.rebalancing or self._failure or not self.assignment.partitions:
            return
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                await self.app.finish()
        except TimeoutError:
            log.warning("bundle_not_finished", seconds=_FINISH_SECONDS)

    def _failed(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            trace = None if isinstance(error, FatalError) else error  # a named error explains itself
            log.error("worker_failed", error=str(error), kind=type(error).__name__, exc_info=trace)
        if self._loop is not None:  # from the consumer's thread as well
            self._loop.call_soon_threadsafe(self._stop.set)

    # -- health -------------------------------------------------------------------------------------------------

    def problems_alive(self) -> list[str]:
        """Why the process should be restarted; empty if it should not."""
        return [] if self._failure is None else [str(self._failure)]

    def problems_ready(self) -> list[str]:
        """Why the worker does no full work now; empty if it does."""
        problems = self.problems_alive()
        if self.assignment.partitions is None:
            problems.append("no partitions are assigned and recovered yet")
        if self.watchdog is not None:
            problems.extend(self.watchdog.problems())
        if self._text_reader is not None and not self._text_reader.alive:
            problems.append(f"{TEXTS_TOPIC} is not being read: {self._text_reader.last_error}")
        if self.score_service is not None:
            problems.extend(self.score_service.problems())
        return problems

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        metrics = self.metrics
        metrics.ready.set(0 if self.problems_ready() else 1)
        metrics.users.set(sum(self.behaviour.count(partition) for partition in self.behaviour.partitions()))
        metrics.due_users.set(len(self.due))
        oldest = self.due.oldest_since()
        metrics.oldest_due_seconds.set(0 if oldest is None else self.clock.monotonic_seconds() - oldest)
        metrics.stream_time.set(self.time.now_ms() / 1000)
