"""Redis dies or stops answering: nobody waits longer than the limit, nor at all while the breaker is open, until it is back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.fakes.redis_server import RedisServer
from tests.fakes.redis_store import LIMIT, Rehearsal
from tests.fakes.until import until

from sightline.breaker import State
from sightline.store.base import StoreError, StoreUnavailable


@pytest.fixture
async def rehearsal(redis_server: RedisServer) -> AsyncIterator[Rehearsal]:
    rehearsal = Rehearsal(redis_server.port)
    assert await rehearsal.works()
    yield rehearsal
    await rehearsal.store.close()


async def opened(rehearsal: Rehearsal) -> bool:
    """Asks until the breaker has opened."""
    with pytest.raises(StoreError):
        await rehearsal.store.get(["a"])
    return rehearsal.breaker.state is State.OPEN


def refused_at_once(call: Awaitable[object]) -> None:
    """The call ends before it has waited for anything at all."""
    with pytest.raises(StoreUnavailable):
        call.__await__().send(None)


async def test_killed_under_load(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """Of callers at work while Redis is killed and started again each gets a value, None or StoreError, and none is left waiting."""
    store = rehearsal.store
    stop = asyncio.Event()
    failures = 0
    finished = 0

    async def caller(n: int) -> None:
        nonlocal failures, finished
        while not stop.is_set():
            try:
                await store.put(f"{{{n}}}", b"x" * 1000, 60, ["group"])
                assert await store.get([f"{{{n}}}"]) in ([b"x" * 1000], [None])
            except StoreError:
                failures += 1
            finished += 1
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        for n in range(20):
            group.create_task(caller(n))
        await until(lambda: _true(finished > 200))
        assert failures == 0
        redis_server.kill()
        await until(lambda: _true(rehearsal.breaker.state is State.OPEN))
        redis_server.start()
        await until(lambda: _true(rehearsal.breaker.state is State.CLOSED))
        healed = finished
        await until(lambda: _true(finished > healed + 200))
        stop.set()
    assert failures > 0
    assert await rehearsal.works()


async def test_a_stopped_redis_costs_each_caller_one_limit(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """SIGSTOP: a hundred callers at once lose one limit together; those after them lose nothing."""
    redis_server.pause()
    began = time.monotonic()
    results = await asyncio.gather(*(rehearsal.store.get([str(n)]) for n in range(100)), return_exceptions=True)
    assert time.monotonic() - began < LIMIT + 1
    assert all(isinstance(result, StoreError) for result in results)
    assert rehearsal.breaker.state is not State.CLOSED
    refused_at_once(rehearsal.store.get(["a"]))
    redis_server.resume()
    await until(rehearsal.works)


async def test_whoever_waits_when_the_breaker_opens_is_told_then(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """A caller that came later than those whose time is up does not wait for the end of its own."""
    redis_server.pause()
    early = [asyncio.ensure_future(rehearsal.store.get(["a"])) for _ in range(3)]
    await asyncio.sleep(LIMIT / 2)
    limit = asyncio.ensure_future(asyncio.sleep(LIMIT * 0.75))
    with pytest.raises(StoreError):
        await rehearsal.store.get(["a"])
    assert all(call.done() for call in early)
    assert not limit.done()
    await asyncio.gather(*early, limit, return_exceptions=True)


CALLS: dict[str, Callable[[Rehearsal], Awaitable[object]]] = {
    "get": lambda rehearsal: rehearsal.store.get(["a"]),
    "put": lambda rehearsal: rehearsal.store.put("a", b"x", 60, ["group"]),
    "delete": lambda rehearsal: rehearsal.store.delete(["a"]),
    "forget": lambda rehearsal: rehearsal.store.forget("group"),
    "acquire": lambda rehearsal: rehearsal.store.acquire("lease", "owner", 60),
    "release": lambda rehearsal: rehearsal.store.release("lease", "owner"),
    "stats": lambda rehearsal: rehearsal.store.stats(),
    "purge": lambda rehearsal: rehearsal.store.purge("*"),
}


@pytest.mark.parametrize("operation", CALLS)
async def test_every_call_fails_alike(redis_server: RedisServer, rehearsal: Rehearsal, operation: str) -> None:
    """With Redis gone each call raises StoreError, counted under its own name, and is not tried while the breaker is open."""
    redis_server.kill()
    before = rehearsal.errors(operation)
    with pytest.raises(StoreError) as failed:
        await CALLS[operation](rehearsal)
    assert failed.value.operation == operation
    assert rehearsal.errors(operation) == before + 1
    await until(lambda: opened(rehearsal))
    assert rehearsal.breaker_metric() == State.OPEN
    refused_at_once(CALLS[operation](rehearsal))
    redis_server.start()
    await until(rehearsal.works)
    assert rehearsal.breaker_metric() == State.CLOSED


async def test_no_reconnect_storm(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """However many callers find Redis back, one connection is made."""
    redis_server.kill()
    await until(lambda: opened(rehearsal))
    redis_server.start()
    connections = redis_server.connections()
    while rehearsal.breaker.state is not State.CLOSED:
        await asyncio.gather(*(rehearsal.store.get(["a"]) for _ in range(100)), return_exceptions=True)
        await asyncio.sleep(0.001)
    await asyncio.gather(*(rehearsal.store.get(["a"]) for _ in range(100)))
    assert redis_server.connections() - connections <= 3  # the second look at the count is one, and a trial may have been cut off


async def test_a_lost_connection_is_made_anew_by_one(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """An idle connection that Redis has closed costs nobody an answer: a hundred callers share the next one."""
    redis_server.tell("CLIENT", "KILL", "TYPE", "normal")
    connections = redis_server.connections()
    await asyncio.sleep(0)  # lets the loop see the end
    await until(rehearsal.works)
    await asyncio.gather(*(rehearsal.store.get(["a"]) for _ in range(100)))
    assert redis_server.connections() - connections <= 2


async def test_one_log_line_a_minute(redis_server: RedisServer) -> None:
    """An outage of many failures is told once a minute, with how many were not told, and its end once."""
    now = 0.0
    rehearsal = Rehearsal(redis_server.port, clock=lambda: now)
    redis_server.kill()
    for _ in range(50):
        with pytest.raises(StoreError):
            await rehearsal.store.get(["a"])
    assert rehearsal.lines == ["store.failed"]
    now = 61.0
    await until(lambda: _true(len(rehearsal.lines) == 2))
    assert rehearsal.log.calls[1].kwargs["unlogged"] == 2
    redis_server.start()
    now = 70.0
    await until(lambda: _true(rehearsal.breaker.state is State.CLOSED))
    assert rehearsal.lines == ["store.failed", "store.failed", "store.healed"]
    await rehearsal.store.close()


async def test_closing_in_an_outage_ends_the_search(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """A store that is closed while it looks for Redis leaves no task behind."""
    redis_server.pause()
    await asyncio.gather(*(rehearsal.store.get(["a"]) for _ in range(5)), return_exceptions=True)
    await rehearsal.store.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _true(value: bool) -> bool:
    return value
