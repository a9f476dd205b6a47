"""G11: the broker goes away, the connections to it are cut, the link to it is slow; the workers see it through."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from benchmarks.chaos.arena import Fleet, Load, Run, make_topics, told, under_load
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.verdict import Verdict
from stream.embedded.ports import LOOPBACK, free_ports
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

_RATE: Final = 400.0
#: Held back per chunk and way: a link to another continent.
_SLOW_SECONDS: Final = 0.15
_PROMISE: Final = "broker away, connection cut, slow link: goes on by itself, nothing lost"


async def outages(run: Run) -> Verdict:
    """G11: one broker behind a proxy; the long form also loses one of three brokers."""
    alone = await _behind_a_proxy(run)
    if run.short or not alone.passed:
        return alone
    (run.directory / "cluster").mkdir()
    of_three = await _one_of_three(run._replace(directory=run.directory / "cluster"))
    figures = {**alone.figures, "one_of_three_brokers_killed": of_three.figures}
    return Verdict("G11", _PROMISE, figures, [*alone.problems, *of_three.problems])


async def _behind_a_proxy(run: Run) -> Verdict:
    port, broker_port, controller_port = free_ports(3)
    node = KafkaNode(
        run.directory,
        ports=(broker_port, controller_port),
        properties={"advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}"},
    )
    away_seconds = 8.0 if run.short else 60.0
    async with Proxy(port, broker_port) as proxy:

        async def cut() -> None:
            for _ in range(5):
                proxy.cut()
                await asyncio.sleep(1.0)

        async def refuse() -> None:
            proxy.refusing = True
            proxy.cut()
            await asyncio.sleep(away_seconds / 4)
            proxy.refusing = False

        async def slow() -> None:
            proxy.delay_seconds = _SLOW_SECONDS
            await asyncio.sleep(away_seconds / 2)
            proxy.delay_seconds = 0.0

        async def stop() -> None:
            await asyncio.to_thread(node.kill)
            await asyncio.sleep(away_seconds)
            await asyncio.to_thread(node.start)

        try:
            # In a thread, because the proxy runs in this one.
            await asyncio.to_thread(node.start)
            servers = f"{LOOPBACK}:{port}"
            faults = [cut, refuse, slow, stop]
            return await _seen_through(run, servers, faults, {"away_seconds": away_seconds}, replicas=1)
        finally:
            node.kill()


async def _one_of_three(run: Run) -> Verdict:
    with KafkaCluster(run.directory) as cluster:

        def lose(node: KafkaNode) -> Callable[[], Awaitable[None]]:
            async def killed_and_back() -> None:
                await asyncio.to_thread(node.kill)
                await asyncio.sleep(15.0)
                await asyncio.to_thread(node.start)

            return killed_and_back

        faults = [lose(node) for node in cluster.nodes]
        return await _seen_through(run, cluster.bootstrap_servers, faults, {"brokers": 3}, replicas=3)


async def _seen_through(
    run: Run,
    servers: str,
    faults: Sequence[Callable[[], Awaitable[None]]],
    figures: dict[str, object],
    *,
    replicas: int,
) -> Verdict:
    await make_topics(servers, replication_factor=replicas)
    with Fleet(run.directory, servers, 2) as fleet:
        async with under_load(servers, run.seed, _RATE) as load:
            await fleet.ready(load)
            for fault in faults:
                await load.committed(1_000 if run.short else 4_000)
                await fault()
            problems = await _in_the_end(load, fleet)
        return await told("G11", _PROMISE, run, load, figures=figures, problems=problems)


async def _in_the_end(load: Load, fleet: Fleet) -> list[str]:
    await load.caught_up()
    problems = fleet.unexpected_ends()
    return problems + await fleet.stopped()
