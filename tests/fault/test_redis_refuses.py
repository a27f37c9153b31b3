"""Redis is there and will not serve: each refusal is a StoreError at once, what still works goes on working, and it heals."""

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.fakes.redis_server import RedisServer
from tests.fakes.redis_store import Rehearsal
from tests.fakes.until import SECONDS, until

from sightline.breaker import State
from sightline.store.base import StoreError

Fault = Callable[[RedisServer], contextlib.AbstractContextManager[None]]


@pytest.fixture
async def rehearsal(redis_server: RedisServer) -> AsyncIterator[Rehearsal]:
    rehearsal = Rehearsal(redis_server.port)
    await rehearsal.store.put("kept", b"from before", 60, ["kept group"])
    assert await rehearsal.works()
    yield rehearsal
    await rehearsal.store.close()


@contextlib.contextmanager
def full(server: RedisServer) -> Iterator[None]:
    assert server.tell("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1") == b"+OK"
    yield
    server.tell("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def misconfigured(server: RedisServer) -> Iterator[None]:
    """It cannot save to disk, and therefore refuses writes (MISCONF)."""
    folder = server.folder / "gone"
    folder.mkdir()
    assert server.tell("CONFIG", "SET", "dir", str(folder), "save", "3600 1") == b"+OK"
    shutil.rmtree(folder)
    server.tell("BGSAVE")
    limit = time.monotonic() + SECONDS
    while b"rdb_last_bgsave_status:err" not in server.tell("INFO", "persistence"):
        assert time.monotonic() < limit
        time.sleep(0.01)
    yield
    server.tell("CONFIG", "SET", "save", "")


@contextlib.contextmanager
def replica(server: RedisServer) -> Iterator[None]:
    """A replica of nobody: it reads what it has, and refuses writes (READONLY)."""
    server.tell("REPLICAOF", "127.0.0.1", "1")
    yield
    server.tell("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("fault", [full, misconfigured, replica])
async def test_a_redis_that_cannot_write_still_reads(redis_server: RedisServer, rehearsal: Rehearsal, fault: Fault) -> None:
    """Writes are refused one by one and the breaker stays shut, so that answers from before are found all the same."""
    store = rehearsal.store
    with fault(redis_server):
        for _ in range(10):
            with pytest.raises(StoreError):
                await store.put("new", b"x", 60, ["group"])
            with pytest.raises(StoreError):
                await store.acquire("lease", "owner", 60)
            assert await store.get(["kept", "new"]) == [b"from before", None]
        assert rehearsal.breaker.state is State.CLOSED
        assert rehearsal.errors("put") == 10
        assert rehearsal.lines == ["store.failed"]
    assert await rehearsal.works()
    assert await store.forget("kept group") == 1


@contextlib.contextmanager
def cut_off(server: RedisServer) -> Iterator[None]:
    """A replica that will not serve what may be old (MASTERDOWN)."""
    server.tell("CONFIG", "SET", "replica-serve-stale-data", "no")
    with replica(server):
        yield


@contextlib.contextmanager
def password_changed(server: RedisServer) -> Iterator[None]:
    """Connections from before are cut, and new ones are told NOAUTH."""
    server.tell("CONFIG", "SET", "requirepass", "new")
    server.tell("CLIENT", "KILL", "TYPE", "normal", password="new")
    yield
    server.tell("CONFIG", "SET", "requirepass", "", password="new")


@contextlib.contextmanager
def crowded(server: RedisServer) -> Iterator[None]:
    """`maxclients 1`, and the one is somebody else."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as other, other.makefile("rb") as lines:
        other.sendall(b"CLIENT KILL TYPE normal SKIPME yes\r\nCONFIG SET maxclients 1\r\n")
        assert lines.readline()[:1] == b":"
        assert lines.readline() == b"+OK\r\n"
        yield
        other.sendall(b"CONFIG SET maxclients 100\r\n")
        lines.readline()


@contextlib.contextmanager
def loading(server: RedisServer) -> Iterator[None]:
    """It has been started again, and reads its file back slowly."""
    for n in range(500):
        server.tell("SET", f"filler {n}", "x" * 100)
    server.tell("SAVE")
    server.restart("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    yield


@pytest.mark.parametrize("fault", [cut_off, password_changed, crowded, loading])
async def test_a_redis_that_serves_nobody_opens_the_breaker(redis_server: RedisServer, rehearsal: Rehearsal, fault: Fault) -> None:
    """Nothing can be asked: StoreError until the breaker opens, and everything works again some trials after the fault is gone."""
    with fault(redis_server):
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(StoreError):
                await rehearsal.store.get(["kept"])
        assert rehearsal.breaker.state is not State.CLOSED
        assert rehearsal.lines == ["store.failed"]
    await until(rehearsal.works)
    assert rehearsal.lines == ["store.failed", "store.healed"]


async def test_a_primary_that_has_become_a_replica_is_dialled_anew(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """READONLY may mean that the name points elsewhere now: one new connection is made, not one for each refusal, and no look-up fails."""
    with replica(redis_server):
        before = redis_server.connections()
        for _ in range(10):
            with pytest.raises(StoreError):
                await rehearsal.store.put("new", b"x", 60)
            assert await rehearsal.store.get(["kept"]) == [b"from before"]
        assert redis_server.connections() - before == 2  # the second look at the count is the other


async def test_a_refusal_is_told_by_its_code_alone(redis_server: RedisServer, rehearsal: Rehearsal) -> None:
    """Neither the error nor the log line repeats Redis's text, since it may name keys."""
    with replica(redis_server), pytest.raises(StoreError) as refused:
        await rehearsal.store.put("secret name", b"x", 60)
    assert refused.value.reason == "READONLY"
    assert "secret name" not in repr(rehearsal.log.calls)
    assert rehearsal.log.calls[0].kwargs["reason"] == "READONLY"
