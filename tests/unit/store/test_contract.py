"""What every store keeps, whichever URL chose it."""

import asyncio

import pytest
from tests.fakes.until import until

from sightline.store.base import OperableStore, StoreError


async def gone(store: OperableStore, key: str) -> bool:
    return await store.get([key]) == [None]


async def test_what_is_put_is_found(store: OperableStore) -> None:
    """A value comes back byte for byte under its own key, in the order asked for, and nothing under others."""
    value = bytes(range(256)) * 10
    await store.put("{p}a", value, 60)
    await store.put("{q}b", b"\r\n$-1\r\n", 60)
    assert [b"\r\n$-1\r\n", None, value, value] == await store.get(["{q}b", "{p}none", "{p}a", "{p}a"])
    assert await store.get([]) == []


async def test_the_last_put_wins(store: OperableStore) -> None:
    """A key has one value: the last one put."""
    await store.put("a", b"first, and longer", 60)
    await store.put("a", b"second", 60)
    assert await store.get(["a"]) == [b"second"]


async def test_values_expire(store: OperableStore) -> None:
    """After its time to live a value is gone, and is not counted by `delete`."""
    await store.put("short", b"x", 0.03)
    await store.put("long", b"y", 60)
    await until(lambda: gone(store, "short"))
    assert await store.get(["short", "long"]) == [None, b"y"]
    assert await store.delete(["short"]) == 0


async def test_delete_removes_what_is_named(store: OperableStore) -> None:
    """`delete` takes away the keys named, says how many there were, and leaves the rest."""
    for key in ("a", "b", "c"):
        await store.put(key, b"x", 60)
    assert await store.delete(["a", "b", "never"]) == 2
    assert await store.get(["a", "b", "c"]) == [None, None, b"x"]
    assert await store.delete([]) == 0


async def test_forget_removes_a_group_and_no_more(store: OperableStore) -> None:
    """All members of a group go at once, those of others stay; a second time there is nothing left to forget."""
    await store.put("{p}1", b"x", 60, ["{p}group", "tenant"])
    await store.put("{p}2", b"x", 1, ["{p}group"])
    await store.put("{q}1", b"x", 60, ["{q}group", "tenant"])
    assert await store.forget("{p}group") == 2
    assert await store.get(["{p}1", "{p}2", "{q}1"]) == [None, None, b"x"]
    assert await store.forget("{p}group") == 0
    assert await store.forget("tenant") == 1
    assert await store.get(["{q}1"]) == [None]
    assert await store.forget("never") == 0


async def test_forget_finds_a_value_stored_anew(store: OperableStore) -> None:
    """A group can be forgotten as often as values are put into it."""
    for _ in range(3):
        await store.put("a", b"x", 60, ["group"])
        assert await store.forget("group") == 1
        assert await store.get(["a"]) == [None]


async def test_forget_does_not_count_what_has_gone(store: OperableStore) -> None:
    """Deleted and expired members are not counted."""
    await store.put("deleted", b"x", 60, ["group"])
    await store.put("expired", b"x", 0.02, ["group"])
    await store.put("kept", b"x", 60, ["group"])
    await store.delete(["deleted"])
    await until(lambda: gone(store, "expired"))
    assert await store.forget("group") == 1


async def test_a_large_group_is_forgotten_whole(store: OperableStore) -> None:
    """A group of more members than fit one batch goes to the last one."""
    keys = [f"{{{n}}}" for n in range(1201)]
    for start in range(0, len(keys), 100):
        await asyncio.gather(*(store.put(key, b"x", 60, ["group"]) for key in keys[start : start + 100]))
    assert await store.forget("group") == len(keys)
    assert await store.get(keys) == [None] * len(keys)


async def test_no_put_escapes_a_later_forget(store: OperableStore) -> None:
    """However puts and forgets of one group interleave, a forget after the last put leaves nothing behind."""

    async def put(n: int) -> None:
        await store.put(f"{n % 7}", b"x", 60, ["group"])

    async def forget() -> None:
        await store.forget("group")

    for _ in range(10):
        await asyncio.gather(*(forget() if n % 3 == 0 else put(n) for n in range(40)))
    await store.forget("group")
    assert await store.get([str(n) for n in range(7)]) == [None] * 7


async def test_one_of_fifty_gets_the_lease(store: OperableStore) -> None:
    """Of fifty owners that ask at once exactly one holds the lease, and only that one can renew it or give it back."""
    taken = await asyncio.gather(*(store.acquire("lease", f"owner {n}", 30) for n in range(50)))
    assert sum(taken) == 1
    holder = f"owner {taken.index(True)}"
    assert await store.acquire("lease", holder, 30)
    await store.release("lease", "somebody else")
    assert not await store.acquire("lease", "somebody else", 30)
    await store.release("lease", holder)
    assert await store.acquire("lease", "somebody else", 30)


async def test_a_lease_ends_by_itself(store: OperableStore) -> None:
    """The lease of an owner that has died can be taken once its time is over."""
    assert await store.acquire("lease", "dead", 0.05)
    assert not await store.acquire("lease", "next", 30)
    await until(lambda: store.acquire("lease", "next", 30))
    assert not await store.acquire("lease", "dead", 30)


@pytest.mark.parametrize("value", [b"", b"x" * 200_000], ids=["empty", "too long"])
async def test_a_value_that_is_not_taken_is_refused(store: OperableStore, value: bytes) -> None:
    """An empty value, or one longer than the store takes, is a StoreError and leaves nothing."""
    with pytest.raises(StoreError):
        await store.put("a", value, 60, ["group"])
    assert await store.get(["a"]) == [None]


async def test_purge_takes_what_matches(store: OperableStore) -> None:
    """`purge` removes by glob, over more keys than one batch holds, and says how many."""
    await asyncio.gather(*(store.put(f"s1:t:{n}", b"x", 60) for n in range(700)))
    await store.put("s1:u:1", b"x", 60)
    assert await store.purge("s1:t:*") == 700
    assert await store.get(["s1:t:1", "s1:u:1"]) == [None, b"x"]
    assert await store.purge("s1:t:*") == 0


async def test_stats_count(store: OperableStore) -> None:
    """Keys and bytes grow with what is kept; look-ups are counted by what they found."""
    before = await store.stats()
    await asyncio.gather(*(store.put(f"{n}", b"x" * 10_000, 60) for n in range(50)))
    await store.get(["1", "2", "none"])
    after = await store.stats()
    assert after.keys - before.keys == 50
    assert after.size - before.size >= 400_000
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 1)
