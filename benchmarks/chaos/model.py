"""G4: the model server down, without a process, wrong (benchmarks/model_faults.py) and, at length, slow (benchmarks/slow_model.py)."""

import asyncio

from benchmarks.chaos.arena import Run
from benchmarks.chaos.verdict import Verdict
from benchmarks.model_faults import measure
from benchmarks.slow_model import slow_model
from stream.clock import SystemClock
from tests.brokers import Broker
from tests.kafka_node import KafkaNode

_clock = SystemClock()


async def model_server(run: Run) -> Verdict:
    """G4: no fault of the model server restarts a worker, loses an event or leaves a user without scores."""
    began = _clock.monotonic_seconds()
    with KafkaNode(run.directory) as node:
        # It has event loops of its own.
        told = await asyncio.to_thread(measure, Broker("kafka", node.bootstrap_servers), run.seed)
    problems = told["problems"]
    figures = {name: value for name, value in told.items() if name not in ("pass", "problems")}
    if not run.short:
        (run.directory / "slow").mkdir()
        slow = await slow_model(run._replace(directory=run.directory / "slow"))
        problems = [*problems, *(f"slow model: {problem}" for problem in slow.pop("problems"))]
        figures["slow_model"] = slow
    figures["seconds"] = round(_clock.monotonic_seconds() - began)
    return Verdict(
        "G4",
        "Triton down, slow, wrong or dead: no restart, updates go on by the fallback ladder",
        figures,
        problems,
    )
