"""G9: what a user who makes 30 % of the events does to the others' waits."""

import asyncio
import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer

from benchmarks.chaos.arena import CHANGELOG, Fleet, Load, Run, make_topics, told, under_load
from benchmarks.chaos.feed import shoppers
from benchmarks.chaos.verdict import Verdict
from benchmarks.model_fault_kinds import scripted
from stream.clock import SystemClock
from stream.events import UPDATES_TOPIC
from stream.partitioner import partitioner
from tests.behaviour_feed import PARTITIONS, Fed
from tests.kafka_node import KafkaNode
from tests.worker_process import REPOSITORY

HOT: Final = b"user-00000"
_HOT_SHARE: Final = 0.3
_MOST_RATIO: Final = 2.0
_SETTLE_SECONDS: Final = 2.0
_clock = SystemClock()


class Plan(NamedTuple):
    """Even and hot windows in turn, so that whatever else the machine does falls on both."""

    pairs: int
    window_seconds: float
    events_per_second: float


class Waits(NamedTuple):
    """Of a window, in ms: from the send of an event to the output that has it; of users other than the hot one."""

    beside_hot: list[float]
    """On the hot user's partition."""
    elsewhere: list[float]


class Heated(Iterator[Fed]):
    """Shoppers, a share of whose events is moved to one user."""

    def __init__(self, seed: int) -> None:
        self.share = 0.0
        self._source = shoppers(seed, bad_share=0.0)
        self._chance = random.Random(seed)
        self.home = partitioner("murmur2", PARTITIONS)(HOT)

    def __next__(self) -> Fed:
        fed = next(self._source)
        if self._chance.random() >= self.share:
            return fed
        value = (fed.value or b"").replace(fed.key, HOT)
        return fed._replace(key=HOT, partition=self.home, value=value)


async def hot_key(run: Run) -> Verdict:
    """G9: to the changelog without scoring, then to the interest update with a model that answers at once."""
    fold = await _measured(run, Plan(3, 5.0, 500.0) if run.short else Plan(8, 15.0, 500.0), scores=False)
    (run.directory / "scoring").mkdir()
    of_scoring = run._replace(directory=run.directory / "scoring")
    score = await _measured(
        of_scoring, Plan(2, 5.0, 150.0) if run.short else Plan(6, 15.0, 150.0), scores=True
    )
    seconds = [verdict.figures["seconds"] for verdict in (fold, score)]
    return fold._replace(
        figures={**fold.figures, "seconds": sum(seconds), "with_scoring": score.figures},
        problems=[*fold.problems, *(f"with scoring: {problem}" for problem in score.problems)],
    )


async def _measured(run: Run, plan: Plan, *, scores: bool) -> Verdict:
    with ExitStack() as stack:
        settings = _scoring(stack.enter_context(scripted())[0]) if scores else {}
        servers = stack.enter_context(KafkaNode(run.directory)).bootstrap_servers
        await make_topics(servers)
        fleet = stack.enter_context(Fleet(run.directory, servers, 1, **settings))
        source = Heated(run.seed)
        async with under_load(servers, run.seed, plan.events_per_second, source) as load:
            await fleet.ready(load)
            await load.in_step()
            pairs = await _pairs(load, source, plan, UPDATES_TOPIC if scores else CHANGELOG)
            await load.caught_up()
        problems = [*fleet.unexpected_ends(), *await fleet.stopped()]
        figures = figures_of(pairs)
        return await told(
            "G9",
            "30 % of events on one user: the others' p99 at most doubles",
            run,
            load,
            figures=figures,
            problems=[*problems, *judged(figures)],
        )


def _scoring(url: str) -> dict[str, str]:
    return {
        "MODEL__ENABLED": "true",
        "MODEL__REPOSITORY": str(REPOSITORY / "triton_models"),
        "MODEL__GRPC_URL": url,
        "SCORE__CHANGE_THRESHOLD": "0",
    }


async def _pairs(load: Load, source: Heated, plan: Plan, topic: str) -> list[tuple[Waits, Waits]]:
    pairs = []
    for _ in range(plan.pairs):
        windows = []
        for share in (0.0, _HOT_SHARE):
            source.share = share
            await asyncio.sleep(_SETTLE_SECONDS)
            windows.append(await _waits(load, topic, source.home, plan.window_seconds))
        pairs.append((windows[0], windows[1]))
    source.share = 0.0
    return pairs


async def _waits(load: Load, topic: str, home: int, seconds: float) -> Waits:
    sent, waits = load.feeder.sent_at_ms, Waits([], [])
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=load.bootstrap_servers, auto_offset_reset="latest")
    await consumer.start()
    try:
        until = _clock.monotonic_seconds() + seconds
        while _clock.monotonic_seconds() < until:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                (waits.beside_hot if tp.partition == home else waits.elsewhere).extend(
                    float(record.timestamp - sent[record.key])
                    for record in records
                    # A user with a newer event under way tells nothing about this one.
                    if record.key != HOT and sent.get(record.key, record.timestamp) < record.timestamp
                )
    finally:
        await consumer.stop()
    return waits


def figures_of(pairs: Sequence[tuple[Waits, Waits]]) -> dict[str, object]:
    """For a verdict: medians over the windows, and the median ratio of the hot one of a pair to the even one."""
    by_place = {
        "all": [tuple(p99([*one.beside_hot, *one.elsewhere]) for one in pair) for pair in pairs],
        "beside_hot": [tuple(p99(one.beside_hot) for one in pair) for pair in pairs],
        "elsewhere": [tuple(p99(one.elsewhere) for one in pair) for pair in pairs],
    }
    return {
        "others_p99_ms": {
            place: {
                "even": round(statistics.median(even for even, _ in found)),
                "hot": round(statistics.median(hot for _, hot in found)),
                "ratio": round(statistics.median(hot / even for even, hot in found), 2),
            }
            for place, found in by_place.items()
        },
        "ratio_by_pair": [round(hot / even, 2) for even, hot in by_place["all"]],
    }


def judged(figures: dict[str, object]) -> list[str]:
    """What breaks the promise."""
    by_place = figures["others_p99_ms"]
    assert isinstance(by_place, dict)
    ratio = by_place["all"]["ratio"]
    if ratio <= _MOST_RATIO:
        return []
    return [f"the others' p99 is {ratio} times what it is without the hot user (median of pairs)"]


def p99(waits: Sequence[float]) -> float:
    """The 99th percentile in ms, at least 1: the clock has no finer step."""
    return max(sorted(waits)[int(len(waits) * 0.99)], 1.0) if waits else 1.0
