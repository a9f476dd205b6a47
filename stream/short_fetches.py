"""Short fetches.

A Kafka broker holds a fetch until a record arrives, and Faust lets it hold for 1.5 s. aiokafka has one fetch at a time under way to a
broker: while it asks about partitions that are quiet, those that were just read to the end of what it had wait as
long, above all in recovery, where most changelogs are done before the longest. And Tansu, the embedded broker, looks
again only after two fifths of the longest wait: each record would lie there for up to 0.6 s.
"""

from collections.abc import Callable
from typing import Any, Final

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

#: A record waits for some 25 ms on Tansu; an idle worker asks each broker ten times a second.
FETCH_MAX_WAIT_MS: Final = 100


def install_short_fetches() -> Callable[[], None]:
    """Let every Faust consumer of this process wait at most ``FETCH_MAX_WAIT_MS`` for a fetch.

    Wraps a private method of faust-streaming 0.15.3, which has no setting for it; call it before the app starts.

    Returns:
        What puts Faust's own method back.
    """
    faust_thread: Any = AIOKafkaConsumerThread  # Any: its method is replaced
    original = faust_thread._create_worker_consumer  # noqa: SLF001 - the one place where Faust makes it

    def create(thread: AIOKafkaConsumerThread, *args: Any, **kwargs: Any) -> Any:
        consumer = original(thread, *args, **kwargs)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # noqa: SLF001 - read when it starts
        return consumer

    def uninstall() -> None:
        faust_thread._create_worker_consumer = original  # noqa: SLF001 - as above

    faust_thread._create_worker_consumer = create  # noqa: SLF001 - as above
    return uninstall
