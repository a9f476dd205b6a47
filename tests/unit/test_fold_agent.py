"""The agent acks a bundle once it is durable, and never one that could not be written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from stream.app import StreamApp, fold_agent
from stream.errors import DeadLetterLimitError
from stream.events import CLICK_TOPIC
from stream.sender import SendAbandonedError, SendFailedError


class ScriptedStream:
    """Stands in for Faust's stream: gives events and notes which were acked."""

    def __init__(self, bundles: int) -> None:
        self.acked: list[int] = []
        self._bundles = bundles

    def noack(self) -> "ScriptedStream":
        return self

    async def events(self) -> AsyncIterator[Any]:
        for number in range(self._bundles):
            message = SimpleNamespace(topic=CLICK_TOPIC, partition=0, generation_id=1)
            yield SimpleNamespace(message=message, value=number)

    async def ack(self, event: Any) -> None:
        self.acked.append(event.value)


class Ran(NamedTuple):
    """What an agent did."""

    tried: list[int]
    acked: list[int]
    failures: list[BaseException]


async def run(*errors: BaseException | None) -> Ran:
    """An agent over as many bundles, whose folding raises these."""
    stream = ScriptedStream(len(errors))
    ran = Ran([], stream.acked, [])

    async def fold(topic: str, partition: int, records: Any, abandoned: Callable[[], bool]) -> None:
        ran.tried.append(records)
        if (error := errors[records]) is not None:
            raise error

    hooks = SimpleNamespace(fold=fold, failed=ran.failures.append)
    await fold_agent(_app(hooks))(stream)
    return ran


def _app(hooks: Any, consumer: Any = None) -> Any:
    return SimpleNamespace(
        hooks=hooks, rebalancing=False, should_stop=False, consumer_generation_id=1, folding=asyncio.Lock(),
        is_closing=False, consumer=consumer,
    )  # fmt: skip


async def test_durable_bundles_are_acked_in_their_order() -> None:
    assert await run(None, None) == ([0, 1], [0, 1], [])


@pytest.mark.parametrize(
    "error",
    [
        SendFailedError("behaviour.dead-letter partition 0 refused a batch"),
        DeadLetterLimitError(CLICK_TOPIC, 1.0, {"json": 9}, 9),
        ZeroDivisionError(),
    ],
    ids=["dead letter refused", "almost everything bad", "a bug"],
)
async def test_a_bundle_that_could_not_be_written_is_not_acked_and_nothing_after_it_is_tried(
    error: Exception,
) -> None:
    assert await run(None, error, None) == ([0, 1], [0], [error])


async def test_a_bundle_of_partitions_that_moved_is_not_acked_and_the_agent_goes_on() -> None:
    assert await run(SendAbandonedError("moved"), None) == ([0, 1], [1], [])


async def test_a_stop_waits_for_the_bundle_in_hand_then_commits_and_leaves_the_rest_alone() -> None:
    stream, told = ScriptedStream(3), list[str]()
    in_hand, durable = asyncio.Event(), asyncio.Event()

    async def fold(topic: str, partition: int, records: Any, abandoned: Callable[[], bool]) -> None:
        in_hand.set()
        await durable.wait()
        told.append(f"folded {records}, abandoned {abandoned()}")

    class ScriptedConsumer:
        async def maybe_wait_for_commit_to_finish(self) -> bool:
            told.append("waited for a commit under way")
            return True

        async def commit(self) -> None:
            told.append(f"committed {stream.acked}")

    app = _app(SimpleNamespace(fold=fold), ScriptedConsumer())
    agent = asyncio.create_task(fold_agent(app)(stream))
    await in_hand.wait()
    finishing = asyncio.create_task(StreamApp.finish(app))
    await asyncio.sleep(0)
    durable.set()
    await asyncio.gather(agent, finishing)

    assert told == ["folded 0, abandoned False", "waited for a commit under way", "committed [0]"]
    assert stream.acked == [0]
