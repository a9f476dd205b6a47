"""G6: every kind of bad record among the good ones, then nothing but bad ones in a burst."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final

from benchmarks.chaos.arena import POLICY, Fleet, Run, make_topics, settled, under_load
from benchmarks.chaos.feed import Feeder, shoppers
from benchmarks.chaos.verdict import Verdict
from stream.events import BEHAVIOUR_TOPICS
from tests.bad_inputs import REJECTED
from tests.behaviour_feed import PARTITIONS, Fed
from tests.builders import NOW_MS, USER
from tests.kafka_node import KafkaNode
from tests.reference_fold import ReferenceFold
from tests.worker_process import read_topic, total

_RATE: Final = 300.0
_BURST_RATE: Final = 500.0
#: A burst of the largest ones would measure the network.
_BURST_BYTES: Final = 2_000


def poisons() -> list[Fed]:
    """Each bad record that is bad whatever came before it, as one of a known user."""
    reference = ReferenceFold(POLICY)
    key = USER.encode()
    found = []
    for number, row in enumerate(REJECTED):
        reference.fold(("behaviour.click", 0, number), NOW_MS, key, row.value)
        if ("behaviour.click", 0, number) in reference.rejected:
            found.append(Fed("behaviour.click", 0, key, row.value, NOW_MS))
    return found


def mixed(seed: int, share: float) -> Iterator[Fed]:
    """Good events, a share of them replaced by a bad one at the same place."""
    chance, bad = random.Random(seed), poisons()
    for fed in shoppers(seed, bad_share=0.0):
        if chance.random() < share:
            yield fed._replace(value=chance.choice(bad).value, timestamp_ms=NOW_MS)
        else:
            yield fed


async def poison(run: Run) -> Verdict:
    """G6: one worker, all kinds of bad records among the good ones, and then a burst of nothing else."""
    with KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        with Fleet(run.directory, servers, 1) as fleet:
            worker = fleet.workers[0]
            async with under_load(servers, run.seed, _RATE, mixed(run.seed, 0.01)) as load:
                await fleet.ready(load)
                await load.committed(3_000 if run.short else 20_000)
                burst = await _burst(servers, run)
                await load.caught_up()
                expected = await _expected(servers)
                samples = await asyncio.to_thread(
                    worker.until, lambda now: total(now, "events") >= expected.total(), polls=100
                )
            problems = [*fleet.unexpected_ends(), *await fleet.stopped()]
        accounts, wrong = await settled(load)
    counted = _counted(samples)
    if counted != expected:
        problems.append(
            f"the worker counted {counted - expected} too often and {expected - counted} too seldom"
        )
    figures = {
        "burst": burst,
        "rejected_by_reason": {r: n for (o, r), n in expected.items() if o == "rejected"},
    }
    return Verdict(
        "G6",
        "bad records, a few and then 500 a second: counts exact, no restart, lag back to 0",
        {**accounts.figures(), **load.figures(), "seed": run.seed, **figures},
        [*problems, *wrong],
    )


async def _burst(servers: str, run: Run) -> int:
    """Bad records only, from a second feeder; gives how many."""
    small = [fed for fed in poisons() if len(fed.value or b"") <= _BURST_BYTES]
    homes = list(islice(shoppers(run.seed + 1, bad_share=0.0), 1_000))
    chance = random.Random(run.seed)

    def source() -> Iterator[Fed]:
        while True:
            yield chance.choice(homes)._replace(value=chance.choice(small).value, timestamp_ms=NOW_MS)

    feeder = Feeder(servers, source(), _BURST_RATE)
    feeding = asyncio.create_task(feeder.run())
    await asyncio.sleep(5.0 if run.short else 30.0)
    feeder.stop()
    await feeding
    return len(feeder.acknowledged)


async def _expected(servers: str) -> Counter[tuple[str, str]]:
    reference = ReferenceFold(POLICY)
    for topic in BEHAVIOUR_TOPICS:
        for record in await read_topic(servers, topic, PARTITIONS):
            reference.fold(
                (topic, record.partition, record.offset), record.timestamp, record.key, record.value
            )
    return reference.outcomes


def _counted(samples: dict[str, float]) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for name, value in samples.items():
        if name.startswith("interestflow_events_total|") and value:
            _, outcome, reason, _topic = name.split("|")
            counted[outcome, reason] += int(value)
    return counted
