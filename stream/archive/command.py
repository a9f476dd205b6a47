"""``interestflow record``: what is typed, and what is said of it."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

from stream.clock import Clock
from stream.dlq.times import moment_ms
from stream.errors import ConfigurationError
from stream.events import BEHAVIOUR_TOPICS
from stream.kafka_client import client_kwargs
from stream.settings import Settings


class RecordOptions(NamedTuple):
    """As they are typed."""

    out: Path
    topics: tuple[str, ...] = BEHAVIOUR_TOPICS
    until: str | None = None
    max_events: int | None = None
    name: str = "recorded events"


async def record_events(options: RecordOptions, settings: Settings, clock: Clock) -> Any:
    """Record, and give the archive's description.

    Raises:
        ConfigurationError: If pyarrow is not installed, or as ``stream.archive.topics.record_topics``.
        TransientError: As there.
    """
    try:
        archive = importlib.import_module("stream.archive.topics")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "pyarrow, which writes the archive, is not installed: pip install 'interestflow[embedded]'"
        ) from error
    until_ms = None if options.until is None else moment_ms(options.until, clock.wall_ms())
    order = archive.RecordOrder(options.topics, until_ms, options.max_events, options.name)
    return await archive.record_topics(options.out, order, client_kwargs(settings.kafka), clock)
