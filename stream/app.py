"""The Faust app: one agent over the owned inputs, two tables, the bundle transport, our settings.

What is turned off, and why: the web server (it shows table data on all interfaces), waiting for empty streams (an
unacked bundle would hang every rebalance), topic declaration at run time (topics are pre-created and checked).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import faust
from faust.types import TP

from stream.changelog_consumer import ChangelogQueue
from stream.errors import FatalError
from stream.events import OWNED_TOPICS
from stream.kafka_client import faust_credentials, group_instance_id
from stream.lease import Lease
from stream.rebalances import Rebalances
from stream.sender import SendAbandonedError
from stream.settings import Settings
from stream.stall import Place, Position
from stream.stores.backend import PartitionStore
from stream.stores.table import ChangelogTable
from stream.table_recovery import AssignmentRecovery
from stream.topic_specs import USER_BEHAVIOUR, USER_SCORES
from stream.transport import (
    BundleSettings,
    ChangelogCheck,
    PositionCheck,
    TakeOver,
    TransportObserver,
    bundle_transport,
)

#: Bundles (not records) that may wait in front of the agent.
_BUFFERED_BUNDLES = 16
#: Records that one fetch may give: a bundle for each partition and topic.
_POLL_RECORDS = 16_000
_FETCH_BYTES = 4 * 1024 * 1024


class FoldBundle(Protocol):
    """Makes a bundle durable; see ``stream.ingest.Folder.fold``."""

    async def __call__(self, topic: str, partition: int, records: Any, abandoned: Callable[[], bool]) -> None:
        """Fold a bundle, or raise without any of it being acknowledged."""
        ...


class AppHooks(NamedTuple):
    """What the app calls."""

    fold: FoldBundle
    check_positions: PositionCheck
    take_over: TakeOver
    check_changelogs: ChangelogCheck
    check_seeks: Callable[[Mapping[TP, int]], None]
    check_recovered: Callable[[], None]
    observer: TransportObserver
    #: From here on nothing may be scored; called from the consumer's thread.
    rebalance_started: Callable[[], None]
    #: State is complete for these partitions, delivery goes on.
    rebalance_ended: Callable[[set[int]], None]
    #: Partitions are going: send what is in hand, under a short deadline.
    revoked: Callable[[], Any]
    recovered: Callable[[], None]
    #: So many records of a table's changelog were read back.
    read_back: Callable[[str, int], None]
    failed: Callable[[BaseException], None]
    #: Renewed while the group counts on this worker.
    lease: Lease


class StreamApp(faust.App):
    """A Faust app that tells us when it may work."""

    hooks: AppHooks
    #: Held by the agent while it has a bundle in hand.
    folding: asyncio.Lock
    rebalances: Rebalances
    #: From now on bundles are left to whoever comes next.
    is_closing = False

    async def finish(self) -> None:
        """Fold the bundle in hand, no other, and commit: after that a stop leaves nothing to be folded again.

        Once Faust stops it counts the bundle in hand as abandoned, and if a commit is under way it makes no last one.
        """
        self.is_closing = True
        async with self.folding:
            consumer: Any = self.consumer  # a stream.transport.BundleConsumer
        await consumer.maybe_wait_for_commit_to_finish()
        await consumer.commit()

    def on_rebalance_start(self) -> None:
        """Faust calls this as the first thing of a rebalance, in the consumer's thread."""
        self.hooks.rebalance_started()
        with self.rebalances.turning:
            self.rebalances.begun()
            super().on_rebalance_start()

    def on_rebalance_end(self) -> None:
        """Faust calls this when tables are recovered and inputs flow again; ignored if the next one has begun meanwhile."""
        with self.rebalances.turning:
            if self.rebalances.moving():
                return
            super().on_rebalance_end()
        consumer: Any = self.consumer  # a stream.transport.BundleConsumer
        consumer.rebalance_ended()
        self.hooks.rebalance_ended(self.input_partitions())

    def _crash(self, reason: BaseException) -> None:
        """Mode calls this when any part of the app has died; the app itself would stand there idle for ever."""
        super()._crash(reason)
        self.hooks.failed(reason)

    def input_partitions(self) -> set[int]:
        """Partitions of the owned inputs that this worker holds."""
        return {tp.partition for tp in self.consumer.assignment() if tp.topic in OWNED_TOPICS}

    def recovery_positions(self) -> dict[Place, Position]:
        """How far the changelogs are read back; of a partition that is read to its end, its end."""
        recovery: Any = self.tables.recovery  # type: ignore[attr-defined] # the interface hides it
        return {
            (tp.topic, tp.partition): Position(recovery.active_offsets.get(tp) or 0, end)
            for tp, end in recovery.active_highwaters.items()
            if end is not None
        }

    async def is_read_to(self, place: Place, end_offset: int) -> bool:
        """Whether all of an input partition up to there was fetched, folded and committed."""
        consumer: Any = self.consumer  # a stream.transport.BundleConsumer
        return bool(await consumer.is_read_to(TP(*place), end_offset))


def build_app(
    settings: Settings, hooks: AppHooks, behaviour: PartitionStore, scores: PartitionStore
) -> StreamApp:
    """The app, ready to be started; call it inside the running event loop."""
    kafka = settings.kafka
    settings.store.directory.mkdir(parents=True, exist_ok=True)
    servers = [f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")]
    app = StreamApp(
        settings.app_id,
        broker=servers,
        broker_credentials=faust_credentials(kafka),
        store="memory://",
        datadir=str(settings.store.directory / "faust"),
        web_enabled=False,
        processing_guarantee="at_least_once",
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication_factor,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_buffer_maxsize=_BUFFERED_BUNDLES,
        broker_session_timeout=kafka.session_timeout_seconds,
        consumer_group_instance_id=group_instance_id(kafka),
        broker_rebalance_timeout=max(kafka.rebalance_timeout_seconds, kafka.session_timeout_seconds),
        broker_heartbeat_interval=min(1.0, kafka.session_timeout_seconds / 3),
        broker_request_timeout=max(kafka.request_timeout_seconds, kafka.session_timeout_seconds),
        broker_commit_interval=kafka.commit_interval_seconds,
        broker_max_poll_records=_POLL_RECORDS,
        consumer_max_fetch_size=_FETCH_BYTES,
        consumer_auto_offset_reset="earliest",
        producer_request_timeout=kafka.request_timeout_seconds,
        recovery_consistency_check=True,
    )
    app.hooks = hooks
    app.folding = asyncio.Lock()
    app.rebalances = Rebalances()
    bundles = BundleSettings(
        frozenset(OWNED_TOPICS),
        kafka.bundle_records,
        hooks.check_positions,
        hooks.take_over,
        hooks.check_changelogs,
        hooks.check_seeks,
        hooks.check_recovered,
        hooks.observer,
    )
    app.transport = bundle_transport(bundles)(app.conf.broker_consumer, app, loop=None)
    _recover_by_assignment(app)
    for name, store in ((USER_BEHAVIOUR, behaviour), (USER_SCORES, scores)):
        table = ChangelogTable(
            app,
            name=name,
            partitions=kafka.partitions,
            store=store,
            on_recovered=hooks.recovered,
            on_read_back=hooks.read_back,
        )
        app.tables.add(table)
    app.on_partitions_revoked.connect(_revoked_handler(hooks))
    inputs = app.topic(*OWNED_TOPICS, key_type=bytes, value_type=bytes, partitions=kafka.partitions)
    app.agent(inputs, concurrency=1, name="fold")(fold_agent(app))
    return app


def _recover_by_assignment(app: StreamApp) -> None:
    """Put our own queue and recovery in place of those that Faust would make as its first table is added."""
    tables: Any = app.tables
    tables._changelog_queue = ChangelogQueue(  # noqa: SLF001 - private, for there is no other way
        lambda: app.consumer_generation_id,
        maxsize=_BUFFERED_BUNDLES,
        flow_control=app.flow_control,
        clear_on_resume=True,
    )
    tables._recovery = AssignmentRecovery(  # noqa: SLF001 - as above
        app, tables, beacon=tables.beacon, loop=tables.loop, rebalances=app.rebalances
    )


def fold_agent(app: StreamApp) -> Callable[[Any], Any]:
    """The agent: each bundle is acked once it is durable, and nothing is ever raised or yielded.

    Faust acknowledges and loses an event whose agent raises; and it sends what an agent yields to a topic that the
    record's headers may name.
    """

    async def fold(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            generation = message.generation_id

            def abandoned(generation: int = generation) -> bool:
                return bool(app.rebalancing or app.should_stop or app.consumer_generation_id != generation)

            async with app.folding:
                if app.is_closing:
                    continue  # as below
                try:
                    await app.hooks.fold(message.topic, message.partition, event.value, abandoned)
                except SendAbandonedError:
                    continue  # not acked: it comes again, here or elsewhere
                except FatalError as error:
                    app.hooks.failed(error)
                    return
                except Exception as error:  # noqa: BLE001 - the top of the agent: stop with a name, never lose
                    app.hooks.failed(error)
                    return
                await stream.ack(event)

    return fold


def _revoked_handler(hooks: AppHooks) -> Callable[..., Any]:
    async def on_revoked(*_: Any, **__: Any) -> None:
        await hooks.revoked()

    return on_revoked
