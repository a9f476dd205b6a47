"""Gate G4 in its short form: the model server halted, killed, without a process, and talking nonsense."""

import pytest

from benchmarks.model_faults import measure
from tests.brokers import Broker
from tests.kafka_node import KafkaNode


@pytest.mark.kafka
@pytest.mark.embedded
@pytest.mark.timeout(420)
def test_no_fault_of_the_model_server_restarts_a_worker_or_leaves_a_user_without_scores(
    kafka_node: KafkaNode, stub_python: str
) -> None:
    told = measure(Broker("kafka", kafka_node.bootstrap_servers))

    assert (told["worker_restarts"], told["lost"], told["counted_twice"]) == (0, 0, 0)
    assert told["events_in"] == 2 * 120 * 7
    assert {name: figures["passed"] for name, figures in told["faults"].items()} == {
        "server_halted": True,
        "server_killed": True,
        "process_killed": True,
        "nan": True,
        "wrong_shape": True,
        "wrong_labels": True,
    }
    for figures in told["faults"].values():
        assert figures["updates_by_ladder"] > 0
        assert figures["breaker_opened"]
        assert figures["breaker_closed"]
        assert figures["due_left"] == 0
        assert figures["most_due_users"] <= 40
