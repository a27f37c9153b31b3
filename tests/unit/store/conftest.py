"""The stores that the contract suite runs over, each the real thing."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.fakes.redis_server import RedisServer

from sightline.settings import Cache
from sightline.store.base import OperableStore
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics

# Generous, since these tests are about what is kept and not about time: two cores may be busy with other things.
CACHE = Cache(timeout=5.0, value_bytes=100_000)


@pytest.fixture(scope="session")
def plain_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[OperableStore]:
    """An empty store of each kind."""
    url = "memory://"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("plain_redis")
        server.tell("FLUSHALL")
        url = server.url
    store = open_store(url, CACHE, Metrics())
    yield store
    await store.close()
