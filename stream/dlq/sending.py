"""Replayed records to their topics at a limited rate, each part marked as soon as the broker has it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from stream.clock import Clock
from stream.dlq.letters import Letter
from stream.dlq.replaying import Rules, marker_headers, replay_of
from stream.errors import TransientError
from stream.events import DEAD_LETTER_TOPIC
from stream.received import SENT_HEADER
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError

#: What is sent before it is marked: so many records at most come twice after a crash.
_PART_RECORDS: Final = 100
#: A broker that does not take a part within this time is as good as down.
_PART_SECONDS: Final = 60.0


class Replay(NamedTuple):
    """What a replay works with."""

    sender: BatchSender
    clock: Clock
    rules: Rules
    records_per_second: float

    async def run(self, letters: Sequence[Letter], told: Callable[[int], None]) -> None:
        """Send and mark all of them, in their order.

        Args:
            letters: Without obstacles.
            told: Gets the count of replayed letters after each part.

        Raises:
            TransientError: If the broker does not take them; what was told is marked and not sent again.
            FatalError: If the broker refuses one for good.
        """
        clock = self.clock
        due = clock.monotonic_seconds()
        # A tenth of a second's worth, so that a low rate is not sent in bursts.
        step = int(min(_PART_RECORDS, max(1, self.records_per_second / 10)))
        for start in range(0, len(letters), step):
            part = letters[start : start + step]
            now = clock.monotonic_seconds()
            if now < due:
                await clock.sleep(due - now)
            due = max(due, now) + len(part) / self.records_per_second
            await self._send(self._records(part), start)
            await self._send(_markers(part), start)
            told(start + len(part))

    def _records(self, letters: Iterable[Letter]) -> list[Outgoing]:
        sent_header = (SENT_HEADER, str(self.clock.wall_ms()).encode())
        by_target: defaultdict[tuple[str, int], list[OutRecord]] = defaultdict(list)
        for letter in letters:
            sent = replay_of(letter, self.rules, sent_header)
            record = OutRecord(sent.key, sent.value, sent.headers, sent.timestamp_ms)
            by_target[sent.topic, sent.partition].append(record)
        return [Outgoing(topic, partition, records) for (topic, partition), records in by_target.items()]

    async def _send(self, outgoing: Sequence[Outgoing], done: int) -> None:
        deadline = self.clock.monotonic_seconds() + _PART_SECONDS
        try:
            await self.sender.send(outgoing, lambda: self.clock.monotonic_seconds() > deadline)
        except SendAbandonedError as error:
            topics = ", ".join(sorted({out.topic for out in outgoing}))
            raise TransientError(
                f"{topics} did not take the next letters for {_PART_SECONDS:g} s; {done} are replayed and marked: check the "
                "brokers' health, then run the same command again, it goes on with the others"
            ) from error


def _markers(letters: Iterable[Letter]) -> list[Outgoing]:
    by_partition: defaultdict[int, list[OutRecord]] = defaultdict(list)
    for letter in letters:
        by_partition[letter.place.partition].append(OutRecord(None, None, marker_headers(letter.place)))
    return [Outgoing(DEAD_LETTER_TOPIC, partition, records) for partition, records in by_partition.items()]
