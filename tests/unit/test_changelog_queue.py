"""Between delivery and recovery: what was delivered for an assignment of before never reaches recovery."""

import asyncio
from types import SimpleNamespace
from typing import Any

from mode.utils.queues import FlowControlEvent

from stream.changelog_consumer import ChangelogQueue


class Group:
    """A worker's place in it."""

    generation = 1


def event(generation: int, offset: int) -> Any:
    return SimpleNamespace(message=SimpleNamespace(generation_id=generation, offset=offset))


async def test_a_message_that_waited_for_the_flow_over_a_rebalance_is_left_out() -> None:
    group, flow = Group(), FlowControlEvent()
    queue = ChangelogQueue(lambda: group.generation, maxsize=16, flow_control=flow, clear_on_resume=True)
    flow.resume()
    await queue.put(event(1, 10))
    first = await queue.get()

    flow.suspend()  # the rebalance begins
    waiting = asyncio.create_task(queue.put(event(1, 11)))
    await asyncio.sleep(0)
    group.generation = 2
    flow.resume()
    await waiting
    await queue.put(event(2, 40))
    second = await queue.get()

    assert (first.message.offset, second.message.offset) == (10, 40)
    assert queue.empty()
