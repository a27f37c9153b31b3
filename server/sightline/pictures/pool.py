"""Threads for pixel work, admitted by pixels in flight, first come, first served.

Pillow gives up the GIL while it decodes, shrinks and encodes, so threads use all cores and the event loop goes on. What bounds memory
is not the number of threads but the pixels they hold: a thread cannot be stopped, so the pixels of a request that was cancelled are given
back only when its thread is really done.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Pool:
    """`threads` 0 means one for each core this process may use; `pixels` is how many may be in work at once."""

    def __init__(self, threads: int, pixels: int) -> None:
        self._threads = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)), thread_name_prefix="pictures")
        self._most = self._free = pixels
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def run(self, pixels: int, work: Callable[[], T]) -> T:
        """The result of `work`, done in a thread once `pixels` are free (a picture larger than the whole allowance waits to be alone)."""
        loop = asyncio.get_running_loop()
        weight = min(pixels, self._most)
        await self._admit(weight)
        try:
            job = self._threads.submit(work)
        except BaseException:
            self._give_back(weight)
            raise
        job.add_done_callback(lambda _: loop.call_soon_threadsafe(self._give_back, weight))
        return await asyncio.wrap_future(job)

    async def close(self) -> None:
        """Forgets what has not begun and waits for what has."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _admit(self, weight: int) -> None:
        if not self._waiting and weight <= self._free:
            self._free -= weight
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((weight, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # Admitted and cancelled in the same moment: what was granted goes on to the next. Else: those behind may now fit.
            self._give_back(0 if turn.cancelled() else weight)
            raise

    def _give_back(self, weight: int) -> None:
        self._free += weight
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done():
                if wanted > self._free:
                    return
                self._free -= wanted
                turn.set_result(None)
            self._waiting.popleft()
