"""One engine call for a crowd across gateways: who asks the engine first holds a lease in the store; the others wait for the kept answer.

A plain miss costs one round trip more, taking the lease; a memory store has no lease at all. The holder renews its lease while it asks and
gives it back when the answer is kept. When it dies the lease runs out and the next to look takes it over. When it ends without an answer
that could be kept (an error, a cut-off answer) it says so for a moment, and all who wait ask for themselves at once: waiting for each other
in turn would gain nothing.

Who wants JSON waits as long as for a first token. Who wants a stream has nothing to read while it waits, so it waits only as long as a
short answer takes (`FOLLOW_SECONDS`), and then asks for itself: a first token that comes later by that much at most, and a second call
for which the engine has picture and prompt in its own cache. Two gateways on one Redis, a streamed answer of 60 ms: one call, the second
client served within 15 ms of the first. Of 600 ms: two calls, its first token 150 ms later than without leases.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sightline.answers.cache import Cache, Down, Hit
from sightline.answers.keys import Key
from sightline.store.base import Store, StoreError
from sightline.wire.folding import stamp
from sightline.wire.reply import Whole

FOLLOW_SECONDS = 0.15
BARREN_SECONDS = 2.0  # how long waiters are told that nothing was kept; they look ten times a second
_FIRST_LOOK, _GROWTH, _SLOWEST_LOOK = 0.01, 1.25, 0.1  # seconds: who waits hears of an answer a quarter of its time late at most


class Leases:
    """`seconds`: life of a lease without renewal; `patience`: how long who wants JSON waits. Both in seconds.

    `others` tells whether any other gateway is there to share with: one that is alone saves itself the round trip.
    """

    def __init__(
        self,
        store: Store,
        cache: Cache,
        *,
        seconds: float,
        patience: float,
        others: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.cache = cache
        self.seconds = seconds
        self.patience = patience
        self.others = others
        self.clock = clock
        self.sleep = sleep

    def lease(self, key: Key, *, stream: bool) -> "StoreLease | None":
        if not self.others():
            return None
        return StoreLease(self, key, self.clock() + (min(FOLLOW_SECONDS, self.patience) if stream else self.patience))


class StoreLease:
    """One flight's leave to ask the engine. Store errors mean to go on without."""

    def __init__(self, leases: Leases, key: Key, until: float) -> None:
        self._leases = leases
        self._key = key
        self._until = until
        self._owner = secrets.token_hex(8)
        self._held = False  # or perhaps: an acquisition may have been cut off
        self._renewal: asyncio.Task[None] | None = None

    async def take(self) -> Whole | None:
        """None when this flight is to ask the engine, or the answer that another gateway kept meanwhile."""
        with suppress(StoreError):
            if not await self._acquire():
                return await self._wait()
        return None

    async def give_back(self, *, barren: bool) -> None:
        """Lets the next one ask; `barren` says that asking gave nothing to keep, so that nobody waits for another try."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait([renewal])
        if self._held:
            self._held = False
            with suppress(StoreError):
                if barren:
                    await self._leases.store.put(self._barren, b"1", BARREN_SECONDS)
                await self._leases.store.release(self._key.lease, self._owner)

    async def _wait(self) -> Whole | None:
        pause = _FIRST_LOOK
        while (left := self._until - self._leases.clock()) > 0:
            await self._leases.sleep(min(pause, left))
            pause = min(pause * _GROWTH, _SLOWEST_LOOK)
            kept = await self._look()
            if kept is not None:
                return kept
            if await self._acquire():
                # The holder may have kept its answer and gone between our look and this.
                kept = await self._look()
                if kept is not None or (await self._leases.store.get([self._barren]))[0] is not None:
                    await self.give_back(barren=False)
                return kept
        return None

    async def _look(self) -> Whole | None:
        found = await self._leases.cache.look_up(self._key)
        if isinstance(found, Down):
            raise StoreError("get", "down")
        if not isinstance(found, Hit):
            return None
        return Whole(stamp(found.tail, id=f"chatcmpl-{secrets.token_hex(16)}", created=int(time.time())))

    async def _acquire(self) -> bool:
        self._held = True
        self._held = await self._leases.store.acquire(self._key.lease, self._owner, self._leases.seconds)
        if self._held:
            self._renewal = asyncio.create_task(self._renew())
        return self._held

    async def _renew(self) -> None:
        held = True
        while held:
            await self._leases.sleep(self._leases.seconds / 3)
            with suppress(StoreError):
                held = await self._leases.store.acquire(self._key.lease, self._owner, self._leases.seconds)

    @property
    def _barren(self) -> str:
        return f"{self._key.lease}:barren"
