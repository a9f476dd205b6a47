"""G8: memory of workers under load for long, with users who stay and users who come once and are forgotten."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.chaos.arena import Fleet, Run, make_topics, settled, under_load
from benchmarks.chaos.feed import shoppers
from benchmarks.chaos.trend import by_minute, trend
from benchmarks.chaos.verdict import Verdict
from benchmarks.model_fault_kinds import scripted
from stream.clock import SystemClock
from stream.partitioner import partitioner
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, Fed
from tests.kafka_node import KafkaNode
from tests.worker_process import REPOSITORY, WorkerProcess

#: What is promised.
_MOST_MIB_PER_HOUR: Final = 5.0
_RATE: Final = 200.0
_REGULARS: Final = 100
#: One event in ten is the only one of its user.
_GUEST_EVERY: Final = 10
_GUEST: Final = b"guest-"
#: Per worker: the regulars of half of the partitions, and room that guests fill in half a minute.
_MOST_USERS: Final = 300
#: Those of about a second: they are held until the sweep that follows their bundle.
_NOT_SWEPT_YET: Final = 20
#: So little that it is full before the measurement: what fills for an hour can't be told from what leaks.
_ROCKSDB_MEMORY_MIB: Final = "16"
_SAMPLE_SECONDS: Final = 5.0
#: An hour of virtual time is 18 s here: ids come and go all the while. A busy user would be throttled, and which of the events
#: are depends on the order in which topics are read.
_POLICY: Final = WindowPolicy(lateness_grace_ms=3_600_000, throttle_span_ms=0)
_MIB: Final = 2**20
_clock = SystemClock()


class Sample(NamedTuple):
    """One look at a worker."""

    at_seconds: float
    own_mib: float
    users: float
    store_mib: float


def visitors(seed: int) -> Iterator[Fed]:
    """Shoppers, and guests among them."""
    home = partitioner("murmur2", PARTITIONS)
    for number, fed in enumerate(shoppers(seed, users=_REGULARS, bad_share=0.0)):
        if number % _GUEST_EVERY:
            yield fed
            continue
        guest = _GUEST + b"%08d" % number
        value = (fed.value or b"").replace(fed.key, guest)
        yield fed._replace(key=guest, partition=home(guest), value=value)


async def soak(run: Run) -> Verdict:
    """G8: one worker with each kind of store; both score by a model that answers at once."""
    warm_up, minutes = (20.0, 1.0) if run.short else (300.0, 25.0)
    minutes = run.soak_minutes or minutes
    with scripted() as (url, _), KafkaNode(run.directory) as node:
        servers = node.bootstrap_servers
        await make_topics(servers)
        fleet = Fleet(run.directory, servers, 2, **_settings(url))
        workers = dict(zip(("memory", "rocksdb"), fleet.workers, strict=True))
        workers["rocksdb"].environment["INTERESTFLOW_STORE__BACKEND"] = "rocksdb"
        workers["rocksdb"].environment["INTERESTFLOW_STORE__ROCKSDB_MEMORY_MIB"] = _ROCKSDB_MEMORY_MIB
        with fleet:
            async with under_load(servers, run.seed, _RATE, visitors(run.seed)) as load:
                await fleet.ready(load)
                await asyncio.sleep(warm_up)
                samples = await _samples(workers, minutes * 60.0)
                await load.caught_up()
            problems = [*fleet.unexpected_ends(), *await fleet.stopped()]
        figures = {kind: _figures(of_kind) for kind, of_kind in samples.items()}
        accounts, wrong = await settled(load, _POLICY, counted=lambda key: not key.startswith(_GUEST))
    if not run.short:  # a minute says nothing about an hour
        problems += [f"{kind}: {problem}" for kind in samples for problem in judged(samples[kind])]
    return Verdict(
        "G8",
        "no leak: memory grows by less than 5 MiB an hour, tables level off",
        {**accounts.figures(), **load.figures(), "seed": run.seed, "measured_minutes": minutes, **figures},
        [*problems, *wrong],
    )


def _settings(url: str) -> dict[str, str]:
    return {
        "WINDOW__SIZE": str(_POLICY.size),
        "WINDOW__LATENESS_GRACE_HOURS": "1",
        "WINDOW__THROTTLE_SECONDS": "0",
        "STORE__MAX_USERS": str(_MOST_USERS),
        "MODEL__ENABLED": "true",
        "MODEL__REPOSITORY": str(REPOSITORY / "triton_models"),
        "MODEL__GRPC_URL": url,
    }


async def _samples(workers: Mapping[str, WorkerProcess], seconds: float) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {kind: [] for kind in workers}
    began = _clock.monotonic_seconds()
    while (at_seconds := _clock.monotonic_seconds() - began) < seconds:
        for kind, worker in workers.items():
            users = (await asyncio.to_thread(worker.scrape)).get("interestflow_users", 0.0)
            store = Path(worker.environment["INTERESTFLOW_STORE__DIRECTORY"])
            samples[kind].append(Sample(at_seconds, own_mib(worker.pid), users, _size_mib(store)))
        await asyncio.sleep(_SAMPLE_SECONDS)
    return samples


def own_mib(pid: int) -> float:
    """Memory that a process has for itself: what would be free if it ended."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _size_mib(directory: Path) -> float:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # compacted away while we looked
            continue
    return total / _MIB


def _figures(samples: list[Sample]) -> dict[str, object]:
    grown = trend(by_minute([(one.at_seconds, one.own_mib) for one in samples]))
    thirds = [samples[: len(samples) // 3], samples[-len(samples) // 3 :]]
    return {
        "own_mib_at_start": round(samples[0].own_mib, 1),
        "own_mib_at_end": round(samples[-1].own_mib, 1),
        "slope_mib_per_hour": round(grown.per_hour, 2),
        "slope_uncertainty": round(grown.uncertainty, 2) if len(samples) > 60 else None,
        "most_users_in_first_and_last_third": [max(one.users for one in third) for third in thirds],
        "store_mib_in_first_and_last_third": [
            round(max(one.store_mib for one in third), 1) for third in thirds
        ],
        "own_mib_by_minute": [
            round(size, 1) for _, size in by_minute([(one.at_seconds, one.own_mib) for one in samples])
        ],
    }


def judged(samples: list[Sample]) -> list[str]:
    """What breaks the promise, or leaves open whether it is kept."""
    grown = trend(by_minute([(one.at_seconds, one.own_mib) for one in samples]))
    problems = []
    if grown.least >= _MOST_MIB_PER_HOUR:
        problems.append(f"memory grows by {grown.per_hour:.1f} ± {grown.uncertainty:.1f} MiB an hour")
    elif grown.most >= 2 * _MOST_MIB_PER_HOUR:
        problems.append(
            f"can't tell: {grown.per_hour:.1f} ± {grown.uncertainty:.1f} MiB an hour; run it for longer"
        )
    if (most := max(one.users for one in samples)) > _MOST_USERS + _NOT_SWEPT_YET:
        problems.append(f"{most:.0f} users are held, {_MOST_USERS} may be, and {_NOT_SWEPT_YET} for a moment")
    return problems
