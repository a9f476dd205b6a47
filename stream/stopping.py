"""Waiting that can be called off."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def finished_before(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Do the work unless told to stop first; the work is cancelled then, and over when this returns.

    Returns:
        Whether the work was finished; errors of it are raised.
    """
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        return False
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
