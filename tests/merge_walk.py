"""FOLD with merges as a walk by chance: events and merges come in, workers crash and repeat, hand-overs break off anywhere.

The broker is a set of logs that are outputs and inputs at once, as Kafka is. In the end the changelog must say what one
fold of all events says, each under the id that its user was merged into last.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import orjson

from stream.clock import StreamTime
from stream.due import DueUsers
from stream.events import CLICK_TOPIC, CONTROL_TOPIC, HANDOVER_TOPIC, PURCHASE_TOPIC
from stream.ingest import Folder, FoldParts, FoldRules
from stream.metrics import Metrics
from stream.pacing import ScorePace
from stream.sender import BatchSender, Outgoing, OutRecord, SendAbandonedError
from stream.state import UserState, decode_state
from stream.stores.memory import MemoryStore
from stream.texts import TextCatalog
from stream.window import WindowPolicy
from tests.builders import NOW_MS, FrozenClock, Record, event_value, never
from tests.reference_fold import ReferenceFold

CHANGELOG = "merge-walk-changelog"
#: Nothing is late and nothing leaves by its age: only the window's size forgets.
POLICY = WindowPolicy(size=4, span_ms=60_000, lateness_grace_ms=60_000)
_EVENTS = (CLICK_TOPIC, PURCHASE_TOPIC)
_INPUTS = (*_EVENTS, CONTROL_TOPIC, HANDOVER_TOPIC)
_PARTITIONS = 2
#: Each is merged into the next one, if at all: chains, and several visitors of one user.
_INTO = {"v0": "ann", "v1": "ann", "v2": "bob", "bob": "ann"}
_USERS = ("v0", "v1", "v2", "v3", "bob", "ann")
Place = tuple[str, int]


def _home(user: bytes) -> int:
    return user[-1] % _PARTITIONS


class Logs(BatchSender):
    """Keeps what it is given; breaks off before the next outgoing once ``left`` of them are out, if that is set."""

    def __init__(self) -> None:
        self.records: defaultdict[Place, list[OutRecord]] = defaultdict(list)
        self.left: int | None = None

    async def send(self, outgoing: Sequence[Outgoing], abandoned: Callable[[], bool]) -> list[int]:
        offsets = []
        for out in outgoing:
            if out.records and self.left is not None:
                if self.left == 0:
                    raise SendAbandonedError("the connection broke while sending")
                self.left -= 1
            log = self.records[out.topic, out.partition]
            log.extend(out.records)
            offsets.append(len(log) - 1 if out.records else -1)
        return offsets


class Walk:
    """One story."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._logs = Logs()
        self._committed: Counter[Place] = Counter()
        self._positions: Counter[Place] = Counter()
        self._folder, self._store = self._worker()
        self._produced: list[tuple[str, bytes]] = []
        self._sent: list[tuple[str, str, bytes]] = []
        self.merged: dict[str, str] = {}
        self.acts: Counter[str] = Counter()

    def run(self, steps: int) -> None:
        """So many steps, then all that is left; and the promise."""
        for _ in range(steps):
            act = self._chance.choice(
                ["produce", "again", "merge", "fold", "fold", "fold", "fold", "break", "crash", "back"]
            )
            self.acts[act] += 1
            getattr(self, f"_{act}")()
        self._crash()
        while place := self._next_place():
            self._fold_at(place)
        self._check()

    # -- what comes in ------------------------------------------------------------------------------------------

    def _produce(self) -> None:
        number = len(self._produced)
        user, topic = self._chance.choice(_USERS), self._chance.choice(_EVENTS)
        value = event_value(
            event_id=f"e{number}", user_id=user, event_type=self._chance.choice(["click", "purchase"]),
            occurred_at_ms=NOW_MS - self._chance.randrange(20_000),
        )  # fmt: skip
        self._produced.append((user, value))
        self._put(topic, user, value)
        self._sent.append((topic, user, value))

    def _again(self) -> None:
        """A producer's repeat, at a new offset."""
        if self._produced:
            self._put(*self._chance.choice(self._sent))

    def _merge(self) -> None:
        user = self._chance.choice(list(_INTO))
        self.merged[user] = _INTO[user]
        self._put(
            CONTROL_TOPIC,
            user,
            orjson.dumps({"action": "merge", "user_id": _INTO[user], "anonymous_id": user}),
        )

    def _put(self, topic: str, user: str, value: bytes) -> None:
        self._logs.records[topic, _home(user.encode())].append(OutRecord(user.encode(), value, (), NOW_MS))

    # -- the worker ---------------------------------------------------------------------------------------------

    def _fold(self) -> None:
        if place := self._next_place():
            self._fold_at(place)
            if self._chance.random() < 0.5:
                self._committed = Counter(self._positions)

    def _break(self) -> None:
        """The worker dies in the middle of its sends."""
        self._logs.left = self._chance.randrange(4)
        try:
            self._fold()
        except SendAbandonedError:
            self.acts["broken"] += 1
        finally:
            self._logs.left = None
        self._crash()

    def _crash(self) -> None:
        self._folder, self._store = self._worker()
        self._positions = Counter(self._committed)

    def _back(self) -> None:
        place = self._chance.choice(
            [(topic, partition) for topic in _INPUTS for partition in range(_PARTITIONS)]
        )
        self._positions[place] = self._committed[place]

    def _worker(self) -> tuple[Folder, MemoryStore]:
        store, clock = MemoryStore(), FrozenClock()
        for (topic, partition), log in self._logs.records.items():
            if topic == CHANGELOG:
                store.put_batch(partition, [(out.key or b"", out.value) for out in log], len(log) - 1)
        folder = Folder(
            FoldParts(
                store, self._logs, DueUsers(1.0), ScorePace(0.3), TextCatalog(1), StreamTime(clock, virtual=True), clock,
                Metrics(),
            ),
            FoldRules(
                policy=POLICY, partition_of=_home, source_epoch=0, changelog_topic=CHANGELOG, live_users=3, app_version="1",
                virtual_time=True,
            ),
        )  # fmt: skip
        return folder, store

    def _next_place(self) -> Place | None:
        places = [
            (topic, partition)
            for topic in _INPUTS
            for partition in range(_PARTITIONS)
            if self._positions[topic, partition] < len(self._logs.records[topic, partition])
        ]
        return self._chance.choice(places) if places else None

    def _fold_at(self, place: Place) -> None:
        topic, partition = place
        start = self._positions[place]
        size = self._chance.randint(1, 5)
        records = [
            Record(
                topic, partition, start + number, out.timestamp_ms or NOW_MS, out.key, out.value, out.headers
            )
            for number, out in enumerate(self._logs.records[place][start : start + size])
        ]
        asyncio.run(self._folder.fold(topic, partition, records, never))
        self._positions[place] += len(records)

    # -- the promise --------------------------------------------------------------------------------------------

    def _last_id(self, user: str) -> str:
        while user in self.merged:
            user = self.merged[user]
        return user

    def _check(self) -> None:
        reference = ReferenceFold(POLICY)
        for number, (user, value) in enumerate(self._produced):
            last = self._last_id(user)
            under = orjson.dumps({**orjson.loads(value), "user_id": last})
            reference.fold((CLICK_TOPIC, 0, number), NOW_MS, last.encode(), under)
        states = {user: self._state(user) for user in _USERS if user not in self.merged}
        for user, state in states.items():
            expected = reference.states.get(user.encode(), UserState())
            assert _did(state) == _did(expected), user
        for user, into in self.merged.items():
            redirect = self._state(user)
            assert (redirect.ties.into, redirect.ties.pending) == (into.encode(), 0), user
            assert (len(redirect.window), len(redirect.profile), redirect.orders.count) == (0, 0, 0), user

    def _state(self, user: str) -> UserState:
        value = self._store.get(_home(user.encode()), user.encode())
        return UserState() if value is None else decode_state(value)


def _did(state: UserState) -> tuple[object, ...]:
    profile, orders = state.profile, state.orders
    rows = sorted(
        (category, profile.purchases[row], profile.first[row], profile.last[row])
        for row, category in enumerate(profile.categories)
    )
    weights = [round(weight, 3) for weight in (*profile.weights, *orders.weights)]
    return state.window.behaviours(), rows, weights, (orders.count, orders.last), sorted(state.recent.ids)
