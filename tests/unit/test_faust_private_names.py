"""The private names of Faust, mode and aiokafka that we build on; a change of theirs must be noticed here.

The transport (stream/transport.py), the app and the embedded broker's work-around use them. With another version read
its changes to these places first, run the restart tests on a real Kafka, and only then move the pins.
"""

import inspect
import re
import tomllib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiokafka
import faust
import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.producer.sender import InitPIDHandler, Sender, SendProduceReqHandler
from faust.app.base import App
from faust.stores.base import Store
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.conductor import ConductorCompiler
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

CLICK = TP("behaviour.click", 0)
PINS = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1"}


def source(thing: Any) -> str:
    return inspect.getsource(thing)


def in_order(text: str, *parts: str) -> bool:
    """Whether the parts stand in the text one after the other."""
    return re.search(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


@pytest.fixture
async def consumer() -> AsyncIterator[driver.Consumer]:
    """A consumer as Faust makes it, not connected."""
    app = faust.App("interestflow", broker="kafka://127.0.0.1:1", web_enabled=False, autodiscover=False)

    async def ignored(*_: Any) -> None:
        """Nothing is assigned."""

    made = app.transport.create_consumer(
        ignored, on_partitions_revoked=ignored, on_partitions_assigned=ignored
    )
    assert isinstance(made, driver.Consumer)
    yield made
    made._thread.thread_loop.close()


@pytest.mark.parametrize("package", PINS)
def test_the_installed_version_is_the_one_that_we_know(package: str) -> None:
    assert version(package) == PINS[package]


def test_the_distribution_asks_for_these_versions() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    wanted = {name for name in project["dependencies"] if name.split("==")[0] in PINS}

    assert wanted == {f"{package}=={pin}" for package, pin in PINS.items()}


# -- what the transport overrides or calls ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_read_offset", "_committed_offset"])
async def test_offsets_by_partition_default_to_none(consumer: driver.Consumer, name: str) -> None:
    offsets = getattr(consumer, name)

    assert isinstance(offsets, defaultdict)
    assert offsets["unknown"] is None


async def test_acks_are_kept_as_a_list_and_as_a_set(consumer: driver.Consumer) -> None:
    assert (consumer._acked[CLICK], consumer._acked_index[CLICK]) == ([], set())
    assert not consumer._gap[CLICK]


async def test_partitions_are_kept_as_sets(consumer: driver.Consumer) -> None:
    assert {type(consumer._active_partitions), type(consumer._paused_partitions)} == {set}
    assert (type(consumer._buffered_partitions), consumer.flow_active) == (set, True)


PARAMETERS: list[tuple[Callable[..., Any], list[str]]] = [
    (Consumer.getmany, ["self", "timeout"]),
    (Consumer._wait_next_records, ["self", "timeout"]),
    (Consumer.maybe_wait_for_commit_to_finish, ["self"]),
    (Consumer._new_offset, ["self", "tp"]),
    (Consumer._add_gap, ["self", "tp", "offset_from", "offset_to"]),
    (Consumer.perform_seek, ["self"]),
    (Consumer.seek, ["self", "partition", "offset"]),
    (ThreadDelegateConsumer._seek, ["self", "partition", "offset"]),
    (ThreadDelegateConsumer._commit, ["self", "offsets"]),
    (ThreadDelegateConsumer.highwater, ["self", "tp"]),
    (ThreadDelegateConsumer.assignment, ["self"]),
    (ThreadDelegateConsumer.earliest_offsets, ["self", "partitions"]),
    (ThreadDelegateConsumer.highwaters, ["self", "partitions"]),
    (Consumer.resume_partitions, ["self", "tps"]),
    (Consumer.on_partitions_revoked, ["self", "revoked"]),
    (ThreadDelegateConsumer.position, ["self", "tp"]),
    (ThreadDelegateConsumer.seek_wait, ["self", "partitions"]),
    (driver.Consumer._new_consumer_thread, ["self"]),
    (driver.AIOKafkaConsumerThread.on_partitions_revoked, ["self", "revoked"]),
    (driver.AIOKafkaConsumerThread.on_partitions_assigned, ["self", "assigned", "generation_id"]),
    (GroupCoordinator._send_req, ["self", "request"]),
    (driver.AIOKafkaConsumerThread._highwaters, ["self", "partitions"]),
    (App.on_rebalance_start, ["self"]),
    (App.on_rebalance_end, ["self"]),
    (SubscriptionState.seek, ["self", "tp", "offset"]),
    (BatchBuilder.append, ["self", "timestamp", "key", "value", "headers"]),
    (BatchBuilder.record_count, ["self"]),
    (aiokafka.AIOKafkaProducer.create_batch, ["self"]),
    (aiokafka.AIOKafkaProducer.send_batch, ["self", "batch", "topic", "partition"]),
    (Store.apply_changelog_batch, ["self", "batch", "to_key", "to_value"]),
    (Store.persisted_offset, ["self", "tp"]),
    (Store.set_persisted_offset, ["self", "tp", "offset"]),
    (Store.need_active_standby_for, ["self", "tp"]),
    (Store.on_recovery_completed, ["self", "active_tps", "standby_tps"]),
    (Stream.noack, ["self"]),
    (Stream.ack, ["self", "event"]),
]


@pytest.mark.parametrize(
    ("function", "parameters"), PARAMETERS, ids=[function.__qualname__ for function, _ in PARAMETERS]
)
def test_what_is_overridden_or_called_takes_these(
    function: Callable[..., Any], parameters: list[str]
) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_a_message_of_faust_has_these_fields() -> None:
    assert list(inspect.signature(ConsumerMessage).parameters)[:14] == [
        "topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum",
        "serialized_key_size", "serialized_value_size", "tp", "time_in", "time_out",
    ]  # fmt: skip
    assert "generation_id" in inspect.signature(ConsumerMessage).parameters


async def test_the_app_has_what_the_transport_asks_it(consumer: driver.Consumer) -> None:
    app = consumer.app

    assert isinstance(app.consumer_generation_id, int)
    assert callable(app.monitor.track_tp_end_offset)
    assert isinstance(app.rebalancing, bool)
    assert isinstance(app.should_stop, bool)


def test_transport_and_consumer_are_still_extension_points() -> None:
    assert driver.Transport.Consumer is driver.Consumer
    assert isinstance(inspect.getattr_static(App, "transport"), property)
    assert inspect.getattr_static(App, "transport").fset is not None


# -- how Faust behaves where we rely on it or work around it ---------------------------------------------------------


def test_faust_still_resumes_inputs_before_it_seeks_them() -> None:
    """If this fails Faust may have mended it: see whether the guard of the transport is still needed."""
    for method in (Recovery.on_recovery_completed, Recovery._resume_streams):
        assert in_order(
            source(method), "consumer.resume_partitions(", "consumer.perform_seek()", "app.on_rebalance_end()"
        )


def test_tables_are_told_of_their_recovery_before_inputs_are_sought() -> None:
    text = source(Recovery.on_recovery_completed)

    assert in_order(
        text, "table.on_recovery_completed(", "consumer.resume_partitions(", "consumer.perform_seek()"
    )


def test_a_seek_goes_to_committed_offsets_and_notes_them() -> None:
    text = source(Consumer.perform_seek)

    assert in_order(text, "self.seek_to_committed()", "read_offset.update(", "self._committed_offset.update(")


def test_aiokafka_does_not_seek_where_nothing_is_committed() -> None:
    assert "if offset and offset > 0:" in source(aiokafka.AIOKafkaConsumer.seek_to_committed)


def test_acks_below_the_committed_offset_are_ignored() -> None:
    assert "if committed is None or offset >= committed:" in source(Consumer.ack)


def test_commits_ask_each_partition_with_acks_for_its_new_offset() -> None:
    assert "for tp in self._acked" in source(Consumer._filter_tps_with_pending_acks)
    assert "offset = self._new_offset(tp)" in source(Consumer._filter_committable_offsets)


def test_the_loop_drops_messages_below_the_read_offset_and_no_others() -> None:
    text = source(Consumer._drain_messages)

    assert in_order(
        text, "r_offset is None or offset >= r_offset", "await self._add_gap(tp, r_offset + 1, offset)"
    )
    assert in_order(text, "callback(message)", "set_read_offset(tp, offset)")


def test_a_revocation_forgets_acks_and_offsets_of_its_partitions() -> None:
    text = source(Consumer.on_partitions_revoked)

    for name in ("_gap", "_acked", "_acked_index", "_read_offset", "_committed_offset"):
        assert f"self.{name}.pop(tp, None)" in text


def test_a_revocation_stops_the_flow_and_empties_the_buffers_of_the_agents() -> None:
    assert in_order(
        source(App._on_partitions_revoked),
        "consumer.stop_flow",
        "consumer.pause_partitions",
        "self.flow_control.clear",
    )


def test_the_rebalance_is_told_first_and_in_the_consumers_thread() -> None:
    text = source(driver.ConsumerRebalanceListener.on_partitions_revoked)

    assert in_order(text, "thread.app.on_rebalance_start()", "return thread.on_partitions_revoked(")
    assert "thread.app.consumer_generation_id = generation" in source(
        driver.ConsumerRebalanceListener.on_partitions_assigned
    ).replace("self._thread", "thread")


def test_recovery_reads_the_log_end_through_the_name_that_the_embedded_broker_replaces() -> None:
    assert "self.call_thread(self._highwaters, partitions)" in source(
        driver.AIOKafkaConsumerThread.highwaters
    )


def test_faust_seeks_from_the_main_thread_what_the_consumers_thread_is_giving_out() -> None:
    """If this fails it may hand seeks over: see stream/static_member.py."""
    assert "self._thread.seek(partition, offset)" in source(ThreadDelegateConsumer._seek)
    assert "self._ensure_consumer().seek(partition, offset)" in source(driver.AIOKafkaConsumerThread.seek)
    assert "del self._records[tp]" in source(Fetcher.seek_to)
    assert in_order(source(Fetcher.fetched_records), ".getall(max_records)", "del self._records[tp]")


def test_aiokafka_refuses_to_seek_a_partition_that_is_not_assigned() -> None:
    assert in_order(
        source(SubscriptionState._assigned_state), "if tp_state is None:", "raise IllegalStateError"
    )


def test_a_producer_that_is_stopped_sends_first_what_it_holds() -> None:
    """If this fails it may have a way to be given up, and stream/producing.py needs no private names for it."""
    assert "self._message_accumulator.close()" in source(aiokafka.AIOKafkaProducer.stop)
    assert isinstance(inspect.getattr_static(Sender, "sender_task"), property)
    assert "if self._closed:" in source(MessageAccumulator.add_batch)
    assert in_order(
        source(MessageAccumulator._pop_batch),
        "if len(self._batches[tp]) == 0:",
        "self._pending_batches.add(batch)",
        "self._pending_batches.remove(batch)",
        "batch.future.add_done_callback(cb)",
    )
    assert "waiter = self._drain_waiter" in source(MessageBatch.wait_drain)


def test_a_producer_sends_records_by_its_clients_send_and_by_nothing_else() -> None:
    """stream/producing.py holds them there."""
    text = source(aiokafka.producer.sender)

    assert text.count("await self._client.send(node_id, request)") == 1
    assert in_order(source(SendProduceReqHandler), "self._client = sender.client", "ProduceRequest(")


def test_a_batch_gets_its_producers_id_epoch_and_number_as_it_leaves_once_and_in_order() -> None:
    """stream/fences.py puts its own in their place."""
    assert in_order(
        source(MessageAccumulator._pop_batch),
        "if self._txn_manager is not None and not_retry:",
        "batch.set_producer_state(",
        "batch.drain_ready()",
    )
    assert "self._builder._set_producer_state(producer_id, producer_epoch, base_sequence)" in source(
        MessageBatch.set_producer_state
    )
    assert in_order(
        source(Sender._sender_routine), "muted_partitions=muted_partitions", "self._muted_partitions.add(tp)"
    )
    assert "exc = ProducerFenced()" in source(SendProduceReqHandler.handle_response)


def test_a_transactional_id_gives_a_producers_id_and_epoch() -> None:
    """stream/fences.py asks as this does."""
    assert in_order(
        source(Sender._maybe_wait_for_pid),
        "CoordinationType.TRANSACTION, self._txn_manager.transactional_id",
        "await self._do_init_pid(node_id)",
    )
    assert in_order(source(InitPIDHandler), "set_pid_and_epoch(", "resp.producer_id, resp.producer_epoch")


def test_a_batch_goes_on_although_nobody_waits_for_it() -> None:
    assert "asyncio.shield(batch.future)" in source(MessageAccumulator.add_batch)


def test_aiokafkas_heartbeats_do_not_say_the_static_id() -> None:
    """If this fails it may know by itself that another took its seat: see stream/static_member.py."""
    assert "HeartbeatRequest(self.group_id, self.generation, self.member_id)" in source(
        GroupCoordinator._do_heartbeat
    )


def test_a_revocation_that_is_cancelled_ends_the_coordination() -> None:
    assert in_order(
        source(GroupCoordinator._on_join_prepare),
        "await res",
        "except Exception:",
        "failed on_partitions_revoked",
    )
    assert in_order(source(GroupCoordinator._coordination_routine), "except asyncio.CancelledError:", "raise")


def test_recovery_takes_the_offset_of_a_message_for_all_before_it() -> None:
    text = source(Recovery._slurp_changelogs.fun)

    assert in_order(text, "offset > seen_offset:", "offsets[tp] = offset", "buf.append(event)")
    assert in_order(text, "len(buf) >= bufsize:", "table.apply_changelog_batch(buf)", "buf.clear()")


def test_recovery_hears_of_a_rebalance_only_as_the_new_partitions_are_given() -> None:
    """If one of these fails stream/table_recovery.py may need less of its own."""
    assert "self.signal_recovery_start.set()" in source(Recovery.on_rebalance)
    assert "signal_recovery_start" not in source(Recovery.on_partitions_revoked)
    assert in_order(
        source(Recovery.on_recovery_completed),
        "consumer.perform_seek()",
        "consumer.resume_flow()",
        "self.app.on_rebalance_end()",
    )
    assert "if self._recovery is None:" in source(vars(TableManager)["recovery"].fget)
    assert in_order(source(App.on_rebalance_end), "self.rebalancing = False")
    assert "thread.app.on_rebalance_start()" in source(driver.ConsumerRebalanceListener.on_partitions_revoked)


def test_recovery_takes_in_what_waited_for_the_flow_over_a_rebalance() -> None:
    """If one of these fails stream/changelog_consumer.py may need no queue of its own."""
    assert in_order(source(ConductorCompiler.build), "await acquire_flow_control()", "put_nowait_enhanced(")
    text = source(Recovery._slurp_changelogs.fun)
    assert in_order(text, "changelog_queue = self.tables.changelog_queue", "changelog_queue.get()")
    assert in_order(text, "recovery unknown topic", "offsets[tp] = offset")
    assert "generation_id" not in text
    assert "if self._changelog_queue is None:" in source(vars(TableManager)["changelog_queue"].fget)


def test_recovery_goes_on_reading_a_changelog_of_buffer_size_one_only() -> None:
    assert "self.tp_to_table[tp].recovery_buffer_size == 1" in source(Recovery._restart_recovery.fun)


def test_recovery_seeks_changelogs_before_their_flow_is_resumed() -> None:
    assert in_order(
        source(Recovery._restart_recovery.fun),
        "self._seek_offsets",
        "consumer.resume_partitions",
        "consumer.resume_flow",
    )
