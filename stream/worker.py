"""The worker: puts FOLD, SCORE, readers, health and the Faust app together, and runs them until told to stop."""

import asyncio
import signal
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from stream.app import USER_BEHAVIOUR, USER_SCORES, AppHooks, StreamApp, build_app, changelog_topic
from stream.clock import StreamTime, SystemClock
from stream.collector import settle_collector
from stream.compacted import CompactedTopicReader, EndOffsets, latest_offsets
from stream.due import DueUsers
from stream.embedded.tansu_fetch import install_short_fetches
from stream.embedded.tansu_highwater import install_tansu_highwater, true_end_offsets
from stream.errors import FatalError
from stream.events import BEHAVIOUR_TOPICS, TEXTS_TOPIC
from stream.health import HealthServer
from stream.ingest import Folder, FoldParts, FoldRules
from stream.kafka_client import client_kwargs
from stream.lenient_headers import install_lenient_headers
from stream.metrics import Metrics
from stream.pacing import ScorePace
from stream.partitioner import partitioner
from stream.score_service import ScoreService, SharedParts
from stream.sender import BatchSender
from stream.settings import Settings
from stream.sources import check_homes, highest_applied, safe_positions
from stream.stores.table import open_store
from stream.texts import TextCatalog
from stream.topics import require_topics, service_topics
from stream.version import app_version

log = structlog.get_logger(__name__)

#: Longest wait for the app to leave the group and flush.
_STOP_SECONDS = 20.0


class Worker:
    """One worker process's parts; ``run`` returns when it was told to stop, or raises what ended it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.clock = SystemClock()
        self.time = StreamTime(self.clock, virtual=settings.virtual_time)
        kafka = settings.kafka
        self.behaviour = open_store(settings.store.backend, settings.store.directory, USER_BEHAVIOUR)
        self.scores = open_store(settings.store.backend, settings.store.directory, USER_SCORES)
        self.sender = BatchSender(
            client_kwargs(kafka),
            self.clock,
            self.metrics,
            linger_ms=kafka.linger_ms,
            idempotent=kafka.broker == "kafka",
        )
        self.due = DueUsers(settings.score.min_interval_seconds)
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
                eviction=settings.store.eviction(),
            ),
        )  # fmt: skip
        self.health = HealthServer(
            self.metrics.registry, self.problems_alive, self.problems_ready, self.refresh
        )
        self.app: StreamApp | None = None
        self.score_service: ScoreService | None = None
        self._text_reader: CompactedTopicReader | None = None
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self._assigned = False
        install_lenient_headers()
        self._end_offsets: EndOffsets = latest_offsets
        if kafka.broker == "tansu":
            self._end_offsets = self._true_ends
            install_tansu_highwater(kafka.bootstrap_servers, client_kwargs=client_kwargs(kafka))
            install_short_fetches()

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start everything, work until ``stop`` or a signal, stop everything.

        Raises:
            FatalError: What made the worker stop by itself.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            await self._start()
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
        health = self.settings.health
        await self.health.start(health.host, health.port)
        log.info("health_listening", host=health.host, port=self.health.port)
        await self._require_topics()
        await self.sender.start()
        self._text_reader = await self._read_texts()
        if self.settings.model.enabled:
            self.score_service = self._build_scoring()
            await self.score_service.start()
        hooks = AppHooks(
            fold=self.folder.fold,
            check_positions=self._check_positions,
            observer=self,
            rebalance_started=self._rebalance_started,
            rebalance_ended=self._rebalance_ended,
            revoked=self._revoked,
            recovered=self.folder.live.clear,
            failed=self._failed,
        )
        self.app = build_app(self.settings, hooks, self.behaviour, self.scores)
        self.app.in_worker = True
        starting = asyncio.create_task(self.app.start(), name="faust-app")
        starting.add_done_callback(self._app_started)

    def _build_scoring(self) -> ScoreService:
        parts = SharedParts(
            self.behaviour,
            self.scores,
            self.sender,
            self.due,
            self.pace,
            self.texts,
            self.time,
            self.clock,
            self.metrics,
        )
        return ScoreService(self.settings, parts, self._generation, self._failed, self._end_offsets)

    def _knows_campaign(self, cid: str) -> bool:
        return self.score_service is None or self.score_service.campaigns.knows(cid)

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
        settings, kafka = self.settings, self.settings.kafka
        specs = service_topics(settings.app_id, kafka.partitions, virtual_time=settings.virtual_time)
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
        if self.score_service is not None:
            await self.score_service.stop()
        if self.app is not None:
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.app.stop()
            except TimeoutError:
                log.warning("app_stop_timed_out", seconds=_STOP_SECONDS)
        if self._text_reader is not None:
            await self._text_reader.stop()
        await self.sender.stop()
        await self.health.stop()
        self.behaviour.close()
        self.scores.close()

    def _failed(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            log.error("worker_failed", error=str(error), kind=type(error).__name__, exc_info=_trace(error))
        asyncio.get_running_loop().call_soon(self._stop.set)

    # -- rebalance ----------------------------------------------------------------------------------------------

    async def _check_positions(self, positions: Mapping[TP, int]) -> Mapping[TP, int]:
        try:
            return await self._positions(positions)
        except FatalError as error:
            self._failed(error)
            raise

    async def _positions(self, positions: Mapping[TP, int]) -> Mapping[TP, int]:
        assert self.app is not None
        if not positions:
            return {}
        ends = await self.app.consumer.highwaters(*positions)
        partitions = {tp.partition for tp in positions}
        applied = {}
        for partition in partitions:
            check_homes(self.behaviour, partition, self.partition_of)
            applied[partition] = highest_applied(self.behaviour, partition)
            await asyncio.sleep(0)
        ends = {TP(*tp): end for tp, end in ends.items()}
        return safe_positions(positions, ends, applied, self.settings.kafka.source_epoch)

    def _rebalance_started(self) -> None:
        self._assigned = False
        if self.score_service is not None:
            self.score_service.scoring.pause()
        self.metrics.rebalances.inc()

    def _rebalance_ended(self, partitions: set[int]) -> None:
        self._assigned = True
        for topic in BEHAVIOUR_TOPICS:
            self.metrics.partitions.labels(topic).set(len(partitions))
        if self.score_service is not None:
            self.score_service.scoring.resume(partitions)
        log.info("partitions_assigned", partitions=sorted(partitions))

    async def _revoked(self) -> None:
        if self.score_service is not None:
            await self.score_service.scoring.drain()

    # -- transport observer -------------------------------------------------------------------------------------

    def sought_back(self, topic: str) -> None:
        """See ``TransportObserver``."""
        self.metrics.seek_backs.labels(topic).inc()

    def filtered_repeats(self, topic: str, records: int) -> None:
        """See ``TransportObserver``."""
        self.metrics.repeats_filtered.labels(topic).inc(records)

    def source_rewound(self, topic: str, records: int) -> None:
        """See ``TransportObserver``."""
        self.metrics.source_rewound.labels(topic).inc(records)

    # -- health -------------------------------------------------------------------------------------------------

    def problems_alive(self) -> list[str]:
        """Why the process should be restarted; empty if it should not."""
        return [] if self._failure is None else [str(self._failure)]

    def problems_ready(self) -> list[str]:
        """Why the worker does no full work now; empty if it does."""
        problems = self.problems_alive()
        if not self._assigned:
            problems.append("no partitions are assigned and recovered yet")
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


def _trace(error: BaseException) -> BaseException | None:
    """A named error explains itself; only the unexpected needs its trace."""
    return None if isinstance(error, FatalError) else error
