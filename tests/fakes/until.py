"""Waiting for something to come true: looks again and again, and fails the test when it never does."""

import asyncio
from collections.abc import Awaitable, Callable

SECONDS = 15.0  # far beyond any promise: how long a test waits before it calls it never


async def until(condition: Callable[[], Awaitable[object]], limit: float = SECONDS) -> None:
    """Returns as soon as `condition` gives something true."""
    async with asyncio.timeout(limit):
        while not await condition():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.01)
