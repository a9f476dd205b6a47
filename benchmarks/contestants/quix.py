"""Quix Streams: the same fold in a stateful step, state in its RocksDB store with changelog, at least once.

Runs in an environment of its own (see benchmarks.quix_environment).
"""

from typing import Any

from quixstreams import Application, State, message_context
from quixstreams.models import TopicConfig
from quixstreams.models.topics.manager import TopicManager

from benchmarks.contestants.job import Job, SharedFold, Stopwatch, job_from_command_line
from stream.events import BEHAVIOUR_TOPICS
from stream.state import encode_state

_STATE = "s"
_PARTITIONS = 4


class TimedApplication(Application):  # type: ignore[misc]  # Quix is not installed where types are checked
    """An application that stops the watch after the last checkpoint, before it closes its clients."""

    watch: Stopwatch

    def _run_dataframe(self, *args: Any, **kwargs: Any) -> None:
        super()._run_dataframe(*args, **kwargs)
        self.watch.stop()


def _default_retention() -> None:
    """Tansu does not tell a topic's retention, which Quix needs when it derives the changelog's."""
    derive = TopicManager.derive_topic_config.__func__

    def derive_with_default(cls: type[TopicManager], topics: list[Any]) -> Any:
        for topic in topics:
            topic.broker_config.extra_config.setdefault("retention.ms", "-1")
        return derive(cls, topics)

    TopicManager.derive_topic_config = classmethod(derive_with_default)


def _application(job: Job) -> TimedApplication:
    return TimedApplication(
        broker_address=job.bootstrap_servers,
        consumer_group="bench-quix",
        auto_offset_reset="earliest",
        loglevel="ERROR",
        state_dir=job.directory,
        processing_guarantee="at-least-once",
        use_changelog_topics=True,
        commit_interval=1.0,
        # It reads four topics in time order, and with its defaults (1 s, 10,000) it waits most of the time for the one
        # that it has not fetched yet: these two made it twice as fast.
        consumer_poll_timeout=0.05,
        max_partition_buffer_size=2_000,
        auto_create_topics=True,
        consumer_extra_config={
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 1_000,
            # Tansu looks for new records only after two fifths of this; its default is 500.
            "fetch.wait.max.ms": 100,
        },
        producer_extra_config={"linger.ms": 5, "acks": "all"},
    )


def _run(job: Job) -> None:
    _default_retention()
    app = _application(job)
    watch = app.watch = Stopwatch()
    shared = SharedFold()

    def fold(value: bytes, key: bytes, timestamp_ms: int, _headers: Any, state: State) -> bytes:
        watch.start()
        context = message_context()
        place = context.topic, context.partition
        encoded = encode_state(shared.fold(place, context.offset, timestamp_ms, key, value))
        state.set_bytes(_STATE, encoded)
        return value

    config = TopicConfig(num_partitions=_PARTITIONS, replication_factor=1)
    inputs = [
        app.dataframe(app.topic(name, value_deserializer="bytes", key_deserializer="bytes", config=config))
        for name in BEHAVIOUR_TOPICS
    ]
    joined = inputs[0]
    for frame in inputs[1:]:
        joined = joined.concat(frame)
    joined.apply(fold, stateful=True, metadata=True)
    app.run(count=job.events, timeout=60.0)
    watch.report(len(shared.states) and job.events)


if __name__ == "__main__":
    _run(job_from_command_line())
