import asyncio

import pytest

from stream.stopping import finished_before


async def test_work_that_is_not_called_off_is_done() -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("done")

    assert await finished_before(work(), asyncio.Event())
    assert done == ["done"]


async def test_work_that_would_wait_for_ever_is_cancelled_when_told_to_stop() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert not await finished_before(work(), stop)
    assert ended.is_set()


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await finished_before(work(), asyncio.Event())
