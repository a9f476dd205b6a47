"""Stock Faust as its documentation shows it: an agent that takes one event, and a table that it writes."""

import os
from typing import Any

import faust

from benchmarks.contestants.job import SharedFold, Stopwatch, job_from_command_line
from benchmarks.topics import PARTITIONS
from stream.events import BEHAVIOUR_TOPICS
from stream.short_fetches import install_short_fetches
from stream.state import encode_state

JOB = job_from_command_line()

app = faust.App(
    "bench-stock",
    broker=f"kafka://{JOB.bootstrap_servers}",
    store="memory://",
    web_enabled=False,
    key_serializer="raw",
    value_serializer="raw",
    topic_partitions=PARTITIONS,
    topic_disable_leader=True,
    topic_allow_declare=False,
    # As our worker has them.
    broker_session_timeout=10.0,
    broker_rebalance_timeout=12.0,
    broker_heartbeat_interval=1.0,
    broker_commit_interval=1.0,
    consumer_auto_offset_reset="earliest",
    consumer_max_fetch_size=4 * 1024 * 1024,
)
inputs = app.topic(*BEHAVIOUR_TOPICS, key_type=bytes, value_type=bytes, partitions=PARTITIONS)
table = app.Table("user-behaviour", key_type=bytes, value_type=bytes, partitions=PARTITIONS)
watch = Stopwatch()
shared = SharedFold()


@app.agent(inputs)
async def fold(stream: Any) -> None:
    """One event each: fold it and write the user's state; Faust sends the changelog and commits."""
    done = 0
    async for event in stream.events():
        watch.start()
        message = event.message
        place, at_ms = (message.topic, message.partition), round(message.timestamp * 1000)
        try:
            state = shared.fold(place, message.offset, at_ms, event.key, event.value)
        except Exception as error:  # noqa: BLE001 - Faust would log it and go on without the event
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        table[event.key] = encode_state(state)
        done += 1
        if done == JOB.events:
            await _finish()


async def _finish() -> None:
    await app.producer.flush()
    await app.consumer.commit()
    watch.stop()
    watch.report(JOB.events)


if __name__ == "__main__":
    if JOB.broker == "tansu":
        install_short_fetches()
    faust.Worker(app, loglevel="ERROR", override_logging=True).execute_from_commandline()
