"""What lies in Redis is not what was put there: it is absent, never an answer and never a failure that lasts."""

from collections.abc import AsyncIterator

import pytest
from tests.fakes.redis_server import RedisServer
from tests.fakes.redis_store import LARGEST, Rehearsal

from sightline.breaker import State


@pytest.fixture
async def rehearsal(redis_server: RedisServer) -> AsyncIterator[Rehearsal]:
    rehearsal = Rehearsal(redis_server.port)
    assert await rehearsal.works()
    yield rehearsal
    assert rehearsal.breaker.state is State.CLOSED
    await rehearsal.store.close()


async def test_flushed(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """After FLUSHALL all is absent and can be put again."""
    await rehearsal.store.put("a", b"x", 60, ["group"])
    redis_server.tell("FLUSHALL")
    assert await rehearsal.store.get(["a"]) == [None]
    assert await rehearsal.store.forget("group") == 0
    assert await rehearsal.works()


async def test_scripts_flushed(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """A server that has forgotten the scripts (SCRIPT FLUSH, failover) is sent them again, and nobody notices."""
    redis_server.tell("SCRIPT", "FLUSH")
    await rehearsal.store.put("a", b"x", 60, ["group"])
    redis_server.tell("SCRIPT", "FLUSH")
    assert await rehearsal.store.acquire("lease", "owner", 60)
    redis_server.tell("SCRIPT", "FLUSH")
    assert await rehearsal.store.forget("group") == 1
    assert rehearsal.lines == []


async def test_a_key_of_another_type_is_absent_and_removed(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """A list where an answer should be is a miss, counted and deleted; the other keys of the look-up are found."""
    await rehearsal.store.put("b", b"x", 60)
    redis_server.tell("RPUSH", "a", "x")
    assert await rehearsal.store.get(["a", "b"]) == [None, b"x"]
    assert redis_server.tell("EXISTS", "a") == b":0"
    assert rehearsal.errors("get") == 1


async def test_a_huge_value_is_absent_and_removed(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """A value longer than any that we store is never fetched whole: a miss, counted and deleted."""
    redis_server.tell("SETRANGE", "a", 200 * 2**20, "x")
    assert await rehearsal.store.get(["a"]) == [None]
    assert redis_server.tell("EXISTS", "a") == b":0"
    assert rehearsal.errors("get") == 1


async def test_the_longest_value_is_kept(rehearsal: Rehearsal) -> None:
    """The bound is on the far side of the longest value that `put` takes."""
    await rehearsal.store.put("a", b"x" * LARGEST, 60)
    assert await rehearsal.store.get(["a"]) == [b"x" * LARGEST]


async def test_a_group_of_another_type_is_replaced(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """A string where a group should be holds nothing to forget, and does not keep a group from being made."""
    redis_server.tell("SET", "group", "x")
    assert await rehearsal.store.forget("group") == 0
    redis_server.tell("SET", "group", "x")
    await rehearsal.store.put("a", b"x", 60, ["group"])
    assert await rehearsal.store.forget("group") == 1


async def test_a_lease_of_another_type_is_taken_over(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """A list where a lease should be would hold up every replica for ever: it is written over."""
    redis_server.tell("RPUSH", "lease", "x")
    await rehearsal.store.release("lease", "owner")
    assert await rehearsal.store.acquire("lease", "owner", 60)
    assert not await rehearsal.store.acquire("lease", "another", 60)


async def test_every_key_has_a_time_to_live(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """Values, groups and leases all expire; a group outlives its longest member, whatever is put into it later."""
    await rehearsal.store.put("a", b"x", 100, ["group"])
    await rehearsal.store.put("b", b"x", 5, ["group"])
    await rehearsal.store.put("c", b"x", 500, ["group"])
    await rehearsal.store.acquire("lease", "owner", 10)
    left = {key: int(redis_server.tell("PTTL", key)[1:]) for key in ("a", "b", "c", "group", "lease")}
    assert 0 < left["b"] <= 5_000
    assert 0 < left["lease"] <= 10_000
    assert 5_000 < left["a"] <= 100_000 < left["c"] <= 500_000 < left["group"]


async def test_a_group_does_not_grow_for_ever(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """Members that have expired long ago leave their group with the next put."""
    await rehearsal.store.put("a", b"x", 60, ["group"])
    redis_server.tell("ZADD", "group", 1, "expired long ago")
    await rehearsal.store.put("b", b"x", 60, ["group"])
    assert redis_server.tell("ZRANGE", "group", 0, -1) == b"a b"
