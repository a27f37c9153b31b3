"""Sentinel names another primary: the store follows, with nothing set anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.redis_server import RedisServer, free_port
from tests.fakes.until import until

from sightline.settings import Cache
from sightline.store.base import StoreError
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics

FAILOVER_SECONDS = 40.0  # Sentinel takes ten seconds to find a replica, and a few to change places


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A primary, its replica, and one Sentinel that knows the primary."""
    primary = RedisServer(tmp_path / "primary", "--repl-diskless-sync-delay", "0")
    replica = RedisServer(tmp_path / "replica", "--replicaof", f"127.0.0.1 {primary.port}")
    rules = ("sentinel monitor pictures 127.0.0.1 {} 1", "sentinel down-after-milliseconds pictures 500")
    sentinel = RedisServer(tmp_path / "sentinel", *(rule.format(primary.port) for rule in rules), sentinel=True)
    try:
        for server in (primary, replica, sentinel):
            server.start()
        yield primary, replica, sentinel
    finally:
        for server in (sentinel, replica, primary):
            server.kill()


async def test_a_failover_is_followed(servers: tuple[RedisServer, RedisServer, RedisServer]) -> None:
    """After a failover values go to the new primary, and those that it had as a replica are found there."""
    primary, replica, sentinel = servers
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/pictures"
    store = open_store(url, Cache(timeout=0.5), Metrics())

    async def put(key: str, at: RedisServer) -> bool:
        """A Sentinel that has just started, or a primary that has just gone, may refuse a first one."""
        try:
            await store.put(key, b"x", 60, ["group"])
        except StoreError:
            return False
        return at.tell("EXISTS", key) == b":1"

    async def replicated() -> bool:
        return replica.tell("EXISTS", "before") == b":1" and b"slaves=1" in sentinel.tell("INFO", "sentinel")

    await until(lambda: put("before", primary), FAILOVER_SECONDS)
    await until(replicated, FAILOVER_SECONDS)
    primary.kill()
    await until(lambda: put("after", replica), FAILOVER_SECONDS)
    assert await store.get(["before", "after"]) == [b"x", b"x"]
    await store.close()
