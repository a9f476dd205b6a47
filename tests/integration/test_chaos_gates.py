"""The gates that find lost events, in their short form; `make chaos` runs all of them at length (docs/reliability.md)."""

from pathlib import Path

import pytest

from benchmarks.chaos.arena import Run
from benchmarks.chaos.gates import GATES
from tests.kafka_node import KafkaNode

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


@pytest.mark.parametrize("gate", ["G1", "G5", "G6", "G11", "G15"])
async def test_nothing_is_lost_or_counted_twice(gate: str, tmp_path: Path, kafka_node: KafkaNode) -> None:
    kafka_node.bootstrap_servers  # noqa: B018 - skips where Kafka can't be had; each gate starts its own

    verdict = await GATES[gate].play(Run(tmp_path, seed=7, short=True))

    assert verdict.problems == [], verdict.document()
    assert (verdict.figures["lost"], verdict.figures["counted_twice"]) == (0, 0)
    assert verdict.figures["events_in"] > 1_000
