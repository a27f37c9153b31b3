"""The embedded store: a least-recently-used map bounded in bytes, with expiry. Every call is O(1), `forget` O(members)."""

import fnmatch
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from sys import getsizeof

from sightline.store.base import Stats, StoreError

# What CPython 3.11 holds for an entry beside its key and value, and for each membership beside the group's name: measured, and kept
# honest by a test that compares the account with tracemalloc. The second is for a group of one member: in a larger one it is less.
ENTRY_BYTES = 240
MEMBERSHIP_BYTES = 320


@dataclass(slots=True)
class _Entry:
    value: bytes
    expires: float
    groups: tuple[str, ...]
    cost: int


class MemoryStore:
    """`limit` bounds everything kept, keys and bookkeeping included; `largest` one value. All sizes in bytes, `clock` in seconds."""

    def __init__(self, limit: int, largest: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._largest = largest
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._groups: dict[str, set[str]] = {}
        self._leases: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._size = self._hits = self._misses = 0

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        now = self._clock()
        return [self._look_up(key, now) for key in keys]

    async def put(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        self._put(key, value, ttl, groups)

    def _put(self, key: str, value: bytes, ttl: float, groups: Sequence[str]) -> None:
        if not 0 < len(value) <= self._largest:
            raise StoreError("put", "the value is empty or too long")
        self._remove(key)
        now = self._clock()
        names = tuple(dict.fromkeys(groups))
        cost = getsizeof(value) + getsizeof(key) + ENTRY_BYTES + sum(getsizeof(name) + MEMBERSHIP_BYTES for name in names)
        self._entries[key] = _Entry(value, now + ttl, names, cost)
        self._size += cost
        for name in names:
            self._groups.setdefault(name, set()).add(key)
        self._make_room(now)

    def post(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        with suppress(StoreError):
            self._put(key, value, ttl, groups)

    async def delete(self, keys: Sequence[str]) -> int:
        now = self._clock()
        return sum(self._remove(key, now) for key in keys)

    async def forget(self, group: str) -> int:
        return await self.delete(list(self._groups.get(group, ())))

    async def acquire(self, key: str, owner: str, ttl: float) -> bool:
        now = self._clock()
        while self._leases and next(iter(self._leases.values()))[1] <= now:
            self._leases.popitem(last=False)
        holder, expires = self._leases.get(key, (owner, now))
        if holder != owner and expires > now:
            return False
        self._leases[key] = (owner, now + ttl)
        self._leases.move_to_end(key)
        return True

    async def release(self, key: str, owner: str) -> None:
        if self._leases.get(key, ("", 0.0))[0] == owner:
            del self._leases[key]

    async def stats(self) -> Stats:
        return Stats(len(self._entries), self._size, self._hits, self._misses)

    async def purge(self, match: str) -> int:
        return await self.delete(fnmatch.filter(self._entries, match))

    async def close(self) -> None:
        self._entries.clear()
        self._groups.clear()
        self._leases.clear()
        self._size = 0

    def _look_up(self, key: str, now: float) -> bytes | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= now:
            self._remove(key)
            entry = None
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        self._entries.move_to_end(key)
        return entry.value

    def _make_room(self, now: float) -> None:
        """Drops the least recently used until all fits; an expired one at that end goes as well, one a call, so that it costs nothing."""
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if self._size <= self._limit:
                if entry.expires <= now:
                    self._remove(key)
                return
            self._remove(key)

    def _remove(self, key: str, now: float | None = None) -> bool:
        """Takes `key` out; whether it was there and, when `now` is given, had not expired."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._size -= entry.cost
        for name in entry.groups:
            members = self._groups[name]
            members.discard(key)
            if not members:
                del self._groups[name]
        return now is None or entry.expires > now
