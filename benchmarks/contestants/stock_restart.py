"""Stock Faust as its documentation shows it, for the faults: a table of each user's event ids, and an output of each event.

It also writes down what it throws away: Faust's ``FlowControlEvent.resume`` empties the queues of all agents, and recovery
calls it after the seek to the committed offsets, with the fetcher running.
"""

import json
import sys
from pathlib import Path
from typing import Any

import faust
import orjson
from mode.utils.objects import cached_property
from mode.utils.queues import FlowControlEvent

from stream.events import BEHAVIOUR_TOPICS
from tests.behaviour_feed import PARTITIONS

TOLD = json.loads(sys.argv[1])


class NotedFlow(FlowControlEvent):
    """As it is, with a note of each input event that it takes out of a queue unprocessed."""

    def resume(self) -> None:
        """Let the flow go on; a line of places for each time that something is thrown away."""
        queues: Any = self._queues
        waiting = [event.message for queue in queues for event in queue._queue]  # noqa: SLF001 - as resume does
        places = [
            (message.topic, message.partition, message.offset)
            for message in waiting
            if message.topic in BEHAVIOUR_TOPICS
        ]
        if places:
            with Path(TOLD["dropped_to"]).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(places) + "\n")
        super().resume()


class NotedApp(faust.App):
    """Stock but for the notes."""

    @cached_property
    def flow_control(self) -> FlowControlEvent:
        """The notes are here."""
        return NotedFlow(loop=self.loop)


app = NotedApp(
    TOLD["app_id"],
    broker=f"kafka://{TOLD['bootstrap_servers']}",
    store="memory://",
    web_enabled=False,
    key_serializer="raw",
    value_serializer="raw",
    topic_partitions=PARTITIONS,
    topic_disable_leader=True,
    topic_allow_declare=False,
    # As our worker has them under the same faults.
    broker_session_timeout=6.0,
    broker_rebalance_timeout=8.0,
    broker_heartbeat_interval=1.0,
    broker_commit_interval=1.0,
    consumer_auto_offset_reset="earliest",
    table_standby_replicas=0,
)
inputs = app.topic(*BEHAVIOUR_TOPICS, key_type=bytes, value_type=bytes, partitions=PARTITIONS)
outputs = app.topic(TOLD["output"], key_type=bytes, value_type=bytes, partitions=PARTITIONS)
table = app.Table("ids", key_type=bytes, value_type=bytes, partitions=PARTITIONS)


@app.agent(inputs)
async def fold(stream: Any) -> None:
    """One event each: its id goes to its user's, and on to the output."""
    async for event in stream.events():
        event_id = orjson.loads(event.value)["event_id"].encode()
        held = table.get(event.key)
        table[event.key] = event_id if not held else held + b"," + event_id
        await outputs.send(key=event.key, value=event_id, partition=event.message.partition)


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()
