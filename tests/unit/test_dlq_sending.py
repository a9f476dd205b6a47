"""A replay of dead letters: at its rate, each marked once it is sent, and never sent unmarked for long."""

from collections.abc import Callable, Sequence

import pytest

from stream.dlq.letters import Letter, Place, marked_place, read_letter
from stream.dlq.replaying import Rules
from stream.dlq.sending import Replay
from stream.errors import TransientError
from stream.events import CLICK_TOPIC, DEAD_LETTER_TOPIC
from stream.sender import Outgoing, SendAbandonedError
from tests.builders import NOW_MS, FakeSender, FrozenClock, Record


class FullSender(FakeSender):
    """Takes what comes until ``full`` and lets a minute pass in vain from then on."""

    def __init__(self, clock: FrozenClock) -> None:
        super().__init__()
        self.full = 10**9
        self._clock = clock

    async def send(self, outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        if len(self.records(CLICK_TOPIC)) >= self.full and outgoing[0].topic == CLICK_TOPIC:
            while not abandoned():
                await self._clock.sleep(10)
            raise SendAbandonedError("given up")
        return await super().send(outgoing, abandoned)


def letters(count: int) -> list[Letter]:
    """Of the click topic, on the partitions in turn."""
    headers = [("__streams.errors.topic", CLICK_TOPIC.encode()), ("__streams.errors.partition", b"0")]
    return [
        read_letter(Record(DEAD_LETTER_TOPIC, number % 2, number, key=b"%d" % number, value=b"x", headers=headers))
        for number in range(count)
    ]  # fmt: skip


def replay(rate: float) -> tuple[Replay, FullSender, FrozenClock]:
    clock = FrozenClock()
    sender = FullSender(clock)
    rules = Rules(lambda _: 3, max_attempts=5, virtual_time=True)
    return Replay(sender, clock, rules, rate), sender, clock


def marked(sender: FakeSender) -> set[Place | None]:
    return {
        marked_place(Record(topic, partition, 10**6, headers=record.headers))
        for (topic, partition), log in sender.logs.items()
        if topic == DEAD_LETTER_TOPIC
        for record in log
    }


async def test_each_letter_is_sent_and_marked_on_its_own_partition() -> None:
    replaying, sender, _ = replay(1000.0)
    told: list[int] = []

    await replaying.run(letters(5), told.append)

    assert [record.key for record in sender.logs[CLICK_TOPIC, 3]] == [b"0", b"1", b"2", b"3", b"4"]
    assert dict(sender.logs[CLICK_TOPIC, 3][0].headers)["sent-at-ms"] == str(NOW_MS).encode()
    assert marked(sender) == {Place(0, 0), Place(1, 1), Place(0, 2), Place(1, 3), Place(0, 4)}
    assert all((record.key, record.value) == (None, None) for record in sender.records(DEAD_LETTER_TOPIC))
    assert told == [5]


async def test_no_letters_send_nothing() -> None:
    replaying, sender, _ = replay(1.0)

    await replaying.run([], lambda _: None)

    assert dict(sender.logs) == {}


async def test_a_replay_keeps_to_its_rate() -> None:
    replaying, _, clock = replay(20.0)
    told: list[int] = []

    await replaying.run(letters(7), told.append)

    assert told == [2, 4, 6, 7]
    assert clock.slept == pytest.approx([0.1, 0.1, 0.1])


async def test_a_broker_that_takes_no_more_ends_it_by_name_and_all_before_is_marked() -> None:
    replaying, sender, _ = replay(20.0)
    sender.full = 4

    with pytest.raises(
        TransientError,
        match=r"behaviour.click did not take the next letters for 60 s; 4 are replayed and marked",
    ):
        await replaying.run(letters(7), lambda _: None)

    assert len(marked(sender)) == 4
