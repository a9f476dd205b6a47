"""FOLD as a state machine: events come in, two workers take turns, crash and repeat; the states must be those of one fold.

The broker is a log that keeps what it is given; everything else is the worker's own code. In the end the changelog, read
from its beginning, says what the reference fold over the inputs says.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream.clock import StreamTime
from stream.due import DueUsers
from stream.events import BROWSE_TOPIC, CLICK_TOPIC, DEAD_LETTER_TOPIC
from stream.ingest import Folder, FoldParts, FoldRules
from stream.metrics import Metrics
from stream.pacing import ScorePace
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.state import decode_state
from stream.stores.memory import MemoryStore
from stream.texts import TextCatalog
from stream.window import WindowPolicy
from tests.behaviour_feed import essence
from tests.builders import NOW_MS, FrozenClock, Record, event_value, never
from tests.reference_fold import Place, ReferenceFold

CHANGELOG = "fold-machine-changelog"
POLICY = WindowPolicy(size=3, span_ms=6_000, lateness_grace_ms=10_000)
TOPICS = (CLICK_TOPIC, BROWSE_TOPIC)
_PARTITION = 0


def _events(seed: int) -> Iterator[tuple[str, str, bytes | None, int]]:
    """Topic, user, value and time since the one before: new, late, repeated, with the id of another, or no events.

    A machine lives for less than a second of event time, and no event is that near to the grace: which of two topics is
    read first then decides nothing.
    """
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 8)):
        topic, user = chance.choice(TOPICS), chance.choice(["ann", "bob", "eve"])
        ago_ms = chance.choice([chance.randrange(8_000), chance.randrange(12_000, 15_000)])
        fields = {
            "event_id": f"{topic}-{chance.randrange(60)}",
            "user_id": user,
            "event_type": chance.choice(["click", "purchase", "view_item_list"]),
            "occurred_at_ms": NOW_MS - ago_ms,
        }
        yield topic, user, b"{" if chance.random() < 0.1 else event_value(**fields), chance.randrange(2)


class Fate(Enum):
    """What becomes of a bundle."""

    COMMITTED = "committed"
    NOT_COMMITTED = "not committed"
    #: The connection breaks before anything is out, after the changelog, after all but the texts.
    NOTHING_SENT = 0
    CHANGELOG_SENT = 1
    ALMOST_ALL_SENT = 2
    #: The partition goes while the bundle is in hand: nothing of it may get out.
    ABANDONED = "abandoned"


class Log(BatchSender):
    """Keeps what it is given; breaks off after ``whole`` of the next outgoing ones, if that is set."""

    def __init__(self) -> None:
        self.records: defaultdict[str, list[OutRecord]] = defaultdict(list)
        self.whole: int | None = None

    async def send(self, outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        offsets = []
        for number, out in enumerate(outgoing):
            if self.whole is not None and number >= self.whole:
                raise SendAbandonedError("the connection broke while sending")
            self.records[out.topic].extend(out.records)
            offsets.append(len(self.records[out.topic]) - 1 if out.records else -1)
        return offsets


class FoldWorker:
    """FOLD with a store of its own and positions in the inputs."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.store = MemoryStore()
        clock = FrozenClock()
        self._folder = Folder(
            FoldParts(
                self.store, log, DueUsers(1.0), ScorePace(0.3), TextCatalog(1), StreamTime(clock, virtual=True),
                clock, Metrics(),
            ),
            FoldRules(
                policy=POLICY, partition_of=lambda _: _PARTITION, source_epoch=0, changelog_topic=CHANGELOG,
                live_users=3, app_version="1", virtual_time=True,
            ),
        )  # fmt: skip
        self.positions: dict[str, int] = {}

    def take_over(self, committed: dict[str, int]) -> None:
        """Recover from the changelog where the store left off, and go on from the committed offsets."""
        held = self.store.persisted_offset(_PARTITION)
        for offset, (key, value, *_) in enumerate(self._log.records[CHANGELOG]):
            if key is not None and (held is None or offset > held):
                self.store.put_batch(_PARTITION, [(key, value)], offset)
        self._folder.live.clear()
        self.positions = dict(committed)

    async def fold(self, records: Sequence[Record], abandoned: Callable[[], bool]) -> None:
        """Fold a bundle, and be past it."""
        topic = records[0].topic
        await self._folder.fold(topic, _PARTITION, records, abandoned)
        self.positions[topic] = records[-1].offset + 1


class FoldMachine(RuleBasedStateMachine):
    """See the module."""

    #: Steps of all machines of the process, for a run's figures.
    actions: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.inputs: dict[str, list[Record]] = {topic: [] for topic in TOPICS}
        self.committed = dict.fromkeys(TOPICS, 0)
        self.now_ms = NOW_MS
        self.workers = [FoldWorker(self.log), FoldWorker(self.log)]
        self.owner = 0
        #: Something was folded since the last fault: another one would find nothing to spoil.
        self.unsettled = False

    @property
    def worker(self) -> FoldWorker:
        """Who holds the partition."""
        return self.workers[self.owner]

    @initialize()
    def start(self) -> None:
        """The first worker takes the partition."""
        self.worker.take_over(self.committed)

    # -- the inputs ---------------------------------------------------------------------------------------------

    @rule(seed=st.integers(0, 1_000_000))
    def produce(self, seed: int) -> None:
        """A few records, by chance."""
        for topic, user, value, later_ms in _events(seed):
            self.now_ms += later_ms
            self._append(topic, user, value)

    @precondition(lambda self: any(self.inputs.values()))
    @rule(number=st.integers(0, 1_000))
    def produce_again(self, number: int) -> None:
        """A record as it was, at a new offset."""
        old = [record for log in self.inputs.values() for record in log]
        again = old[number % len(old)]
        self._append(again.topic, (again.key or b"").decode(), again.value)

    def _append(self, topic: str, user: str, value: bytes | None) -> None:
        log = self.inputs[topic]
        log.append(Record(topic, _PARTITION, len(log), self.now_ms, user.encode(), value))
        self.actions["produce"] += 1

    # -- the workers --------------------------------------------------------------------------------------------

    @precondition(lambda self: self._has_next())
    @rule(topic=st.sampled_from(TOPICS), size=st.integers(1, 6), fate=st.sampled_from(Fate))
    def fold(self, topic: str, size: int, fate: Fate) -> None:
        """A bundle."""
        records = self._next(topic, size)
        self.unsettled = True
        self.log.whole = fate.value if isinstance(fate.value, int) else None
        try:
            asyncio.run(self.worker.fold(records, lambda: fate is Fate.ABANDONED))
        except SendAbandonedError:
            self.actions[f"fold: {fate.name}"] += 1
        else:
            self.actions["fold"] += 1
        finally:
            self.log.whole = None
        if fate is Fate.COMMITTED:
            self.committed = dict(self.worker.positions)
        if fate is Fate.ABANDONED:
            self.rebalance()

    @precondition(lambda self: self.unsettled)
    @rule()
    def rebalance(self) -> None:
        """The partition moves; the other one still has what it held before."""
        self.owner = 1 - self.owner
        self.worker.take_over(self.committed)
        self.unsettled = False
        self.actions["rebalance"] += 1

    @precondition(lambda self: self.unsettled)
    @rule(keeps_partition=st.booleans())
    def crash(self, keeps_partition: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
        """The owner is gone with all it held; it comes back, or the other one takes over."""
        self.workers[self.owner] = FoldWorker(self.log)
        if not keeps_partition:
            self.owner = 1 - self.owner
        self.worker.take_over(self.committed)
        self.unsettled = False
        self.actions["crash"] += 1

    @precondition(lambda self: self.unsettled)
    @rule(topic=st.sampled_from(TOPICS), back=st.integers(1, 8))
    def deliver_again(self, topic: str, back: int) -> None:
        """The consumer's position goes back."""
        self.worker.positions[topic] = max(self.worker.positions[topic] - back, 0)
        self.actions["deliver again"] += 1

    def _has_next(self) -> bool:
        return any(self.worker.positions[topic] < len(self.inputs[topic]) for topic in TOPICS)

    def _next(self, topic: str, size: int) -> list[Record]:
        """The next records of a topic, or of the other one if it has none."""
        for name in (topic, *TOPICS):
            if records := self.inputs[name][self.worker.positions[name] :][:size]:
                return records
        return []

    # -- the promise --------------------------------------------------------------------------------------------

    @invariant()
    def what_the_owner_holds_is_what_the_changelog_says(self) -> None:
        """A worker never knows more than it made durable."""
        latest = {record.key: record.value for record in self.log.records[CHANGELOG]}
        for key, value in self.worker.store.scan(_PARTITION):
            known, durable = decode_state(value), decode_state(latest[key] or b"")
            assert known.revision <= durable.revision

    def teardown(self) -> None:
        """Fold the rest; then each event is in the states once, or accounted for."""
        for topic in TOPICS:
            self.worker.positions[topic] = self.committed[topic]
        while records := self._next(TOPICS[0], 4):
            asyncio.run(self.worker.fold(records, never))
        reference = ReferenceFold(POLICY)
        for record in (record for log in self.inputs.values() for record in log):
            reference.fold(
                (record.topic, _PARTITION, record.offset), record.timestamp, record.key or b"", record.value
            )
        latest = {record.key: record.value for record in self.log.records[CHANGELOG]}
        states = {key: decode_state(value or b"") for key, value in latest.items()}
        assert {key: essence(state) for key, state in states.items()} == {
            key: essence(state) for key, state in reference.states.items()
        }
        assert {key: sorted(state.recent.ids) for key, state in states.items()} == {
            key: sorted(state.recent.ids) for key, state in reference.states.items()
        }
        letters = (dict(letter.headers) for letter in self.log.records[DEAD_LETTER_TOPIC])
        assert {_place(headers) for headers in letters} == reference.rejected.keys()


def _place(headers: dict[str, bytes]) -> Place:
    topic, partition, offset = (
        headers[f"__streams.errors.{name}"].decode() for name in ("topic", "partition", "offset")
    )
    return topic, int(partition), int(offset)


def walk(seed: int, steps: int = 40) -> None:
    """A machine driven by chance alone: it folds more than Hypothesis does, which likes its stories short.

    Raises:
        AssertionError: States or dead letters are not those of the reference.
    """
    chance, machine = random.Random(seed), FoldMachine()
    machine.start()
    for _ in range(steps):
        act = chance.choice(["produce", "fold", "fold", "fold", "deliver again", "crash", "rebalance"])
        if act == "produce" or not machine._has_next():
            machine.produce(chance.randrange(1_000_000))
        elif act == "fold":
            machine.fold(chance.choice(TOPICS), chance.randint(1, 6), chance.choice(list(Fate)))
        elif act == "deliver again":
            machine.deliver_again(chance.choice(TOPICS), chance.randint(1, 8))
        elif act == "crash":
            machine.crash(chance.random() < 0.5)
        else:
            machine.rebalance()
    machine.teardown()
