"""What each ``interestflow dlq`` command does: one or two readings of the dead-letter topic, and what follows from them.

A marker stands behind its letter, so the markers are read first; only the letters that are shown or sent are held.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import orjson

from stream.clock import Clock
from stream.dlq.letters import Letter, Ordered, Place, Selection
from stream.dlq.log import LetterLog, delete_before, open_log
from stream.dlq.purging import Purge, purge_text
from stream.dlq.replaying import Rules, obstacle, replay_text
from stream.dlq.sending import Replay
from stream.dlq.show import document, table, why
from stream.dlq.stats import Stats
from stream.errors import ConfigurationError
from stream.events import DEAD_LETTER_TOPIC, OWNED_TOPICS
from stream.kafka_client import client_kwargs
from stream.metrics import Metrics
from stream.partitioner import partitioner
from stream.sender import BatchSender
from stream.settings import Settings
from stream.topic_specs import service_topics
from stream.topics import require_topics


class ReplayOrder(NamedTuple):
    """What ``interestflow dlq replay`` is told."""

    selection: Selection
    limit: int
    records_per_second: float
    max_attempts: int
    again: bool
    yes: bool


class Desk:
    """The commands, over the Kafka of the settings; each gives the text that it prints.

    All raise ConfigurationError for what must be changed, and TransientError if the broker does not answer.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._client_kwargs = client_kwargs(settings.kafka)

    async def newest(self, selection: Selection, count: int, *, as_json: bool) -> str:
        """The newest letters, oldest of them first."""
        newest = Ordered(count, newest=True)
        async with self._log() as log:
            replayed = await log.replayed()
            async for letter in log.letters():
                if selection.takes(letter):
                    newest.show(letter)
        letters = newest.letters()
        were_replayed = [letter.place in replayed for letter in letters]
        if as_json:
            lines = [
                orjson.dumps(document(letter, was_replayed=was_replayed)).decode()
                for letter, was_replayed in zip(letters, were_replayed, strict=True)
            ]
            return "\n".join(lines)
        if not letters:
            return "no dead letter fits"
        more = f"{len(letters)} of {len(letters) + newest.left_out}; `interestflow dlq why LETTER` says more of one"
        return f"{table(letters, were_replayed)}\n{more}"

    async def why(self, place: Place) -> str:
        """All of one letter."""
        async with self._log() as log:
            replayed = await log.replayed()
            found = [letter async for letter in log.letters() if letter.place == place]
        if found:
            return why(found[0], was_replayed=place in replayed)
        raise ConfigurationError(
            f"there is no dead letter at {place}: it was deleted, or never was; `interestflow dlq list` shows those there are"
        )

    async def stats(self, selection: Selection, *, as_json: bool) -> str:
        """Counts of the letters."""
        stats = Stats()
        async with self._log() as log:
            replayed = await log.replayed()
            async for letter in log.letters():
                if selection.takes(letter):
                    stats.show(letter, was_replayed=letter.place in replayed)
        if as_json:
            return orjson.dumps(stats.document(), option=orjson.OPT_INDENT_2).decode()
        return stats.text()

    async def replay(self, order: ReplayOrder, told: Callable[[str], None]) -> str:
        """Send letters back; ``told`` gets lines of progress."""
        settings = self._settings
        partition_of = partitioner(settings.kafka.partitioner, settings.kafka.partitions)
        rules = Rules(partition_of, order.max_attempts, again=order.again, virtual_time=settings.virtual_time)
        oldest, stay = Ordered(order.limit, newest=False), Counter[str]()
        async with self._log() as log:
            replayed = await log.replayed()
            async for letter in log.letters():
                if order.selection.takes(letter):
                    why_not = obstacle(letter, replayed, rules)
                    if why_not is None:
                        oldest.show(letter)
                    else:
                        stay[why_not] += 1
        letters = oldest.letters()
        if order.yes and letters:
            await self._send(letters, order, rules, told)
        return replay_text(letters, stay, oldest.left_out, done=order.yes)

    async def purge(self, purge: Purge, *, yes: bool) -> str:
        """Delete letters from the beginning."""
        async with self._log() as log:
            replayed = await log.replayed()
            async for letter in log.letters():
                purge.show(letter, was_replayed=letter.place in replayed)
        if yes and purge.before:
            await delete_before(self._client_kwargs, purge.before)
        return purge_text(purge, done=yes)

    def _log(self) -> AbstractAsyncContextManager[LetterLog]:
        return open_log(self._client_kwargs, self._clock)

    async def _send(
        self, letters: Sequence[Letter], order: ReplayOrder, rules: Rules, told: Callable[[str], None]
    ) -> None:
        kafka = self._settings.kafka
        await self._require_topics()
        sender = BatchSender(
            self._client_kwargs,
            self._clock,
            Metrics(),
            linger_ms=0,
            idempotent=kafka.broker == "kafka",
        )
        await sender.start()
        try:
            replay = Replay(sender, self._clock, rules, order.records_per_second)
            await replay.run(letters, lambda count: told(f"{count} of {len(letters)} replayed"))
        finally:
            await sender.stop()

    async def _require_topics(self) -> None:
        """Nothing is sent where a worker would not start: its partitions are not where the keys say."""
        settings = self._settings
        specs = service_topics(settings.app_id, settings.kafka.partitions, virtual_time=settings.virtual_time)
        needed = [spec for spec in specs if spec.name in {*OWNED_TOPICS, DEAD_LETTER_TOPIC}]
        await require_topics(settings.kafka.bootstrap_servers, needed, client_kwargs=self._client_kwargs)
