"""Scores that are on their way while their users move to another worker: they never follow the new owner's."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.embedded.ports import LOOPBACK, free_ports
from stream.events import UPDATES_TOPIC
from tests.behaviour_feed import PARTITIONS, events, produce
from tests.brokers import Broker, recreate_topics
from tests.conftest import unavailable
from tests.kafka_node import KafkaNode, KafkaUnavailableError
from tests.produce_gate import ProduceGate
from tests.scripted_triton import Asked, ScriptedTriton, Tensors, _asked, _response
from tests.toy_repository import ENCODER, HEAD, write_toy_repository
from tests.worker_process import WorkerProcess, loads, read_topic, total

pytestmark = pytest.mark.kafka

_LABELS, _DIMENSIONS = 5, 384
_DROPPED = "interestflow_score_results_dropped_total|moved"


class ConstantTriton(ScriptedTriton):
    """Scores everybody alike, so that an update says which server it came from."""

    def __init__(self, score: float) -> None:
        super().__init__(_LABELS, _DIMENSIONS)
        self._score = score

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Only scores are held: a text's vector belongs to no worker, and its call outlives a batch."""
        if request.model_name == ENCODER:
            return _response(request, self._right(_asked(request)))
        return await super().ModelInfer(request, context)

    async def until_users_are_asked_for(self) -> None:
        """A probe asks for one row."""
        while not any(len(asked.tensors["USER"]) > 1 for asked in self.asked):
            await asyncio.sleep(0.05)

    def _right(self, asked: Asked) -> Tensors:
        answer = super()._right(asked)
        if asked.model == HEAD:
            answer["SCORES"] = np.full_like(answer["SCORES"], self._score)
        return answer


def _worker(directory: Path, broker: Broker, triton: ScriptedTriton, models: Path) -> WorkerProcess:
    directory.mkdir()
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID="flight",
        WINDOW__LATENESS_GRACE_HOURS="720",
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(models),
        MODEL__GRPC_URL=triton.url,
        # An answer may come as late as it likes.
        MODEL__DEADLINE_SECONDS="60",
        SCORE__MIN_INTERVAL_SECONDS="0",
    )


@pytest.fixture
async def gated(tmp_path: Path) -> AsyncIterator[tuple[Broker, ProduceGate]]:
    """A node of its own, and a second way to it that leads through a gate."""
    port, controller_port, slow_port, gate_port = free_ports(4)
    own, slow, gate = (f"{LOOPBACK}:{number}" for number in (port, slow_port, gate_port))
    properties = {
        "listeners": f"PLAINTEXT://{own},SLOW://{slow},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{own},SLOW://{gate}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SLOW:PLAINTEXT",
    }
    try:
        node = KafkaNode(tmp_path, ports=(port, controller_port), properties=properties)
    except KafkaUnavailableError as error:
        unavailable(str(error))
    with node:
        async with ProduceGate(gate_port, slow_port) as way:
            yield Broker("kafka", node.bootstrap_servers), way


async def _scores(broker: Broker) -> list[tuple[int, bytes, float]]:
    """Partition, user and score of every update, in order per partition."""
    records = await read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS)
    return [
        (record.partition, record.key, loads(record.value)["interests"][0]["score"]) for record in records
    ]


async def _until(worker: WorkerProcess, name: str, least: float) -> dict[str, float]:
    return await asyncio.to_thread(worker.until, lambda samples: samples.get(name, 0.0) >= least)


def _all_scored(samples: Mapping[str, float]) -> bool:
    """Everybody on the two partitions that a worker has in the end."""
    users, held = (
        samples.get("interestflow_users", 0.0),
        samples.get("interestflow_assigned_partitions|behaviour.click"),
    )
    scored = samples.get("interestflow_users_scored_total|model", 0.0)
    return held == 2 and scored >= users > 0 and samples["interestflow_due_users"] == 0


@pytest.mark.parametrize("answers", ["during the revocation", "after the new owner's"])
async def test_an_old_owners_scores_do_not_follow_the_new_owners(
    kafka_node: KafkaNode, tmp_path: Path, answers: str
) -> None:
    broker = Broker("kafka", kafka_node.bootstrap_servers)
    await recreate_topics(broker, "flight")
    models = write_toy_repository(tmp_path / "models", labels=_LABELS, dimensions=_DIMENSIONS)
    fed = events(600, users=60)

    async with ConstantTriton(0.25) as old, ConstantTriton(0.75) as new:
        with ExitStack() as stack:
            one = stack.enter_context(_worker(tmp_path / "one", broker, old, models))
            await _until(one, "interestflow_ready", 1)
            old.hold()
            await produce(broker.bootstrap_servers, fed)
            await asyncio.to_thread(one.until, lambda samples: total(samples, "events") >= len(fed))
            await old.until_users_are_asked_for()
            rebalances = one.scrape()["interestflow_rebalances_total"]

            two = stack.enter_context(_worker(tmp_path / "two", broker, new, models))
            await _until(one, "interestflow_rebalances_total", rebalances + 1)
            if answers == "during the revocation":
                old.release()
            await asyncio.to_thread(two.until, _all_scored)
            old.release()
            await asyncio.to_thread(one.until, _all_scored)
            dropped = one.scrape().get(_DROPPED, 0.0)
            assert await asyncio.to_thread(one.end, signal.SIGTERM) == 0
            assert await asyncio.to_thread(two.end, signal.SIGTERM) == 0

    _assert_owned_by_the_new(await _scores(broker))
    # What was on its way was indeed there: it came while nothing may be sent any more, or was given up.
    assert dropped > 0 if answers == "during the revocation" else old.given_up > 0


async def test_scores_that_the_producer_holds_as_the_partitions_go_do_not_come_later(
    gated: tuple[Broker, ProduceGate], tmp_path: Path
) -> None:
    broker, gate = gated
    await recreate_topics(broker, "flight")
    models = write_toy_repository(tmp_path / "models", labels=_LABELS, dimensions=_DIMENSIONS)
    fed = events(600, users=60)

    async with ConstantTriton(0.25) as old, ConstantTriton(0.75) as new:
        with ExitStack() as stack:
            one = stack.enter_context(_worker(tmp_path / "one", Broker("kafka", gate.address), old, models))
            await _until(one, "interestflow_ready", 1)
            old.hold()
            await produce(broker.bootstrap_servers, fed)
            await asyncio.to_thread(one.until, lambda samples: total(samples, "events") >= len(fed))
            gate.hold(UPDATES_TOPIC)
            old.release()
            async with asyncio.timeout(60):
                await gate.until_held()

            two = stack.enter_context(_worker(tmp_path / "two", broker, new, models))
            await asyncio.to_thread(two.until, _all_scored)
            gate.release()
            samples = await asyncio.to_thread(one.until, _all_scored)
            assert await asyncio.to_thread(one.end, signal.SIGTERM) == 0
            assert await asyncio.to_thread(two.end, signal.SIGTERM) == 0

    _assert_owned_by_the_new(await _scores(broker))
    assert samples["interestflow_sends_given_up_total"] > 0


def _assert_owned_by_the_new(updates: list[tuple[int, bytes, float]]) -> None:
    moved = {partition for partition, _, score in updates if score == 0.75}
    latest = {user: (partition, score) for partition, user, score in updates}
    assert len(moved) == 2
    assert len(latest) == 60
    assert {score for partition, score in latest.values() if partition in moved} == {0.75}
    assert {score for partition, score in latest.values() if partition not in moved} == {0.25}
