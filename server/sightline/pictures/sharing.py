"""Downloads that are shared: who asks for what is under way joins it, and what has just been fetched is kept for a moment.

Only bytes are kept, never an identity: an answer's key is always made from the bytes at hand.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from sightline.pictures.fetch import Failed, Fetched

Make = Callable[[], Awaitable[Fetched]]
Way = Literal["kept", "shared", "fetched"]


@dataclass(slots=True)
class _Shared:
    task: asyncio.Task[Fetched]
    riders: int = 0


class Sharing:
    """Keeps at most `keep_bytes`; the oldest go first, and each goes when its time is over."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._size = 0
        self._kept: OrderedDict[str, tuple[bytes, asyncio.TimerHandle]] = OrderedDict()
        self._under_way: dict[str, _Shared] = {}

    def way(self, url: str) -> Way:
        """How `get` would come by the bytes."""
        return "kept" if url in self._kept else "shared" if url in self._under_way else "fetched"

    async def get(self, url: str, make: Make) -> bytes:
        """The bytes behind `url`; raises what `make` does. The last one who leaves a download that is under way ends it."""
        if url in self._kept:
            return self._kept[url][0]
        shared = self._under_way.get(url)
        if shared is None:
            shared = self._under_way[url] = _Shared(asyncio.ensure_future(self._make(url, make)))
        shared.riders += 1
        try:
            await asyncio.wait({shared.task})
        finally:
            shared.riders -= 1
            if not shared.riders:
                # Forgotten before it is cancelled, so that a newcomer starts afresh.
                self._forget(url, shared)
                shared.task.cancel()
        if shared.task.cancelled():
            raise Failed("closed")
        return shared.task.result().data

    async def close(self) -> None:
        tasks = [shared.task for shared in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._kept:
            self._drop(next(iter(self._kept)))

    async def _make(self, url: str, make: Make) -> Fetched:
        fetched = await make()
        self._keep(url, fetched)
        return fetched

    def _keep(self, url: str, fetched: Fetched) -> None:
        if fetched.keep <= 0 or len(fetched.data) > self._keep_bytes:
            return
        if url in self._kept:
            self._drop(url)
        self._kept[url] = fetched.data, asyncio.get_running_loop().call_later(fetched.keep, self._drop, url)
        self._size += len(fetched.data)
        while self._size > self._keep_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, url: str) -> None:
        data, timer = self._kept.pop(url)
        timer.cancel()
        self._size -= len(data)

    def _forget(self, url: str, shared: _Shared) -> None:
        if self._under_way.get(url) is shared:
            del self._under_way[url]
