"""What the gates plan: the same faults for a seed, every kind of them, and poison that is poison for any user."""

import asyncio
from collections import Counter
from itertools import islice

from benchmarks.chaos.arena import POLICY
from benchmarks.chaos.crashes import Plan
from benchmarks.chaos.poison import mixed, poisons
from benchmarks.chaos.proxy import Proxy
from stream.embedded.ports import LOOPBACK, free_ports
from tests.reference_fold import ReferenceFold


def test_a_seed_plans_every_kind_of_fault_equally_often() -> None:
    plan = Plan(("kill", "freeze", "stop"), 21, 20.0, 1_000)
    planned = list(plan.faults(7))

    assert planned == list(plan.faults(7)) != list(plan.faults(8))
    assert Counter(fault.kind for fault in planned) == {"kill": 7, "freeze": 7, "stop": 7}
    assert all(10.0 <= fault.peace_seconds <= 30.0 for fault in planned)


def test_poison_is_rejected_on_whichever_user_it_falls() -> None:
    reference = ReferenceFold(POLICY)
    fed = list(islice(mixed(7, share=1.0), 500))

    for offset, one in enumerate(fed):
        reference.fold((one.topic, one.partition, offset), one.timestamp_ms, one.key, one.value)

    assert len(reference.rejected) == 500
    assert len(set(reference.rejected.values())) > 15
    assert len(poisons()) > 30


def test_a_small_share_of_the_mix_is_poison() -> None:
    reference = ReferenceFold(POLICY)
    for offset, one in enumerate(islice(mixed(7, share=0.05), 2_000)):
        reference.fold((one.topic, one.partition, offset), one.timestamp_ms, one.key, one.value)

    assert 60 < len(reference.rejected) < 140
    assert reference.outcomes["accepted", ""] == 2_000 - len(reference.rejected)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def test_the_proxy_passes_on_until_it_cuts_and_refuses_while_it_is_told_to() -> None:
    port, broker_port = free_ports(2)
    broker = await asyncio.start_server(_echo, LOOPBACK, broker_port)
    async with broker, Proxy(port, broker_port) as proxy:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"hello\n")
        passed_on = await reader.readline()
        proxy.cut()
        after_the_cut = await _rest(reader)
        proxy.refusing = True
        refused, closing = await asyncio.open_connection(LOOPBACK, port)
        told_nothing = await _rest(refused)
        for one in (writer, closing):
            one.close()

    assert (passed_on, after_the_cut, told_nothing) == (b"hello\n", b"", b"")
    assert proxy.connections == 1


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
