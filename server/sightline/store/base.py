"""What a store must do: keep bytes for a while, forget a group of them at once, and lend a lease.

Each call is one round trip. A store that cannot answer raises `StoreError` (vendors' errors are converted inside the store, once); it
never hangs, and when it has failed repeatedly it says so at once (`StoreUnavailable`) until it has healed.

Values are never empty. A value longer than the store takes is not kept (`StoreError`). A key that was once a member of a group may be
forgotten with it, even when it has been stored anew without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """The store did not do it. Requests go on without it; `operation` labels the metric."""

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(f"{operation}: {reason}")
        self.operation = operation
        self.reason = reason


class StoreUnavailable(StoreError):
    """Not tried: the breaker is open."""


class Store(Protocol):
    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None where there is none (or it has expired)."""
        ...

    async def put(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        """Keeps `value` for `ttl` seconds and makes it a member of each of `groups`, so that `forget` finds it."""
        ...

    def post(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        """`put` for nobody who waits: whatever this store is asked afterwards finds it done. What fails is counted, and no more is said."""
        ...

    async def delete(self, keys: Sequence[str]) -> int:
        """Removes `keys`; how many there were."""
        ...

    async def forget(self, group: str) -> int:
        """Removes every member of `group` that is still kept, and the group; how many there were."""
        ...

    async def acquire(self, key: str, owner: str, ttl: float) -> bool:
        """Takes or renews the lease `key` for `owner`, for `ttl` seconds. False while another owner holds it."""
        ...

    async def release(self, key: str, owner: str) -> None:
        """Gives the lease back if `owner` still holds it."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store says about itself: `keys` kept (groups and leases too), `size` in bytes, look-ups found and not found so far."""

    keys: int
    size: int
    hits: int
    misses: int


class Operations(Protocol):
    """What only the command line asks for, since it may walk through every key. Never on a request's way."""

    async def stats(self) -> Stats: ...

    async def purge(self, match: str) -> int:
        """Removes each key that the glob `match` (`*`, `?`, `[…]`) describes, one batch after another; how many there were."""
        ...


class OperableStore(Store, Operations, Protocol):
    """A store with its operations: what `open_store` returns."""
