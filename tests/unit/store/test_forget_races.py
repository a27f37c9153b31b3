"""Between any two steps of a `forget` or a `put` another replica may put or forget: no value ever escapes the next `forget`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from sightline.store.base import OperableStore
from sightline.store.connection import Command, Reply
from sightline.store.redis import Link, RedisStore

Interruption = Callable[[], Awaitable[object]]


class Interrupted:
    """A link after whose call number `when` something else happens first."""

    def __init__(self, link: Any, when: int, interruption: Interruption) -> None:
        self._link = link
        self._left = when
        self._interruption = interruption

    async def call(self, commands: Sequence[Command]) -> list[Reply]:
        replies: list[Reply] = await self._link.call(commands)
        self._left -= 1
        if self._left == 0:
            await self._interruption()
        return replies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


STORES = pytest.mark.parametrize("store", ["redis", "cluster"], indirect=True)


def interrupt(store: OperableStore, when: int, interruption: Interruption) -> None:
    assert isinstance(store, RedisStore)
    link = store._link

    async def once() -> None:
        store._link = link
        await interruption()

    store._link = cast("Link", Interrupted(link, when, once))


@STORES
@pytest.mark.parametrize("when", range(1, 6))
async def test_put_within_forget(store: OperableStore, when: int) -> None:
    """A value stored anew while its group is being forgotten is found by the next `forget`, at whichever step it came."""
    await store.put("a", b"old", 60, ["group"])
    interrupt(store, when, lambda: store.put("a", b"new", 60, ["group"]))
    await store.forget("group")
    await store.forget("group")
    assert await store.get(["a"]) == [None]


@STORES
@pytest.mark.parametrize("when", range(1, 6))
async def test_forget_within_put(store: OperableStore, when: int) -> None:
    """A `forget` that falls between the steps of a `put` does not hide its value from the next one."""
    await store.put("a", b"old", 60, ["group"])
    interrupt(store, when, lambda: store.forget("group"))
    await store.put("a", b"new", 60, ["group"])
    await store.forget("group")
    assert await store.get(["a"]) == [None]
