"""The stores that the contract suite runs over, each the real thing."""

import base64
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.fakes.redis_server import RedisServer, free_port, make_certificate

from sightline.settings import Cache
from sightline.store.base import OperableStore
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics

# Generous, since these tests are about what is kept and not about time: two cores may be busy with other things.
CACHE = Cache(timeout=5.0, value_bytes=100_000)
SEALED = CACHE.model_copy(update={"encryption_keys": SecretStr(base64.b64encode(bytes(range(32))).decode())})


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(scope="session")
def plain(folder: Path) -> Iterator[RedisServer]:
    yield from serve(RedisServer(folder / "plain", "--requirepass", "p/w:d"))


@pytest.fixture(scope="session")
def clustered(folder: Path) -> Iterator[RedisServer]:
    """A cluster of one: every slot is its own, and commands across slots are refused as in any cluster."""
    server = RedisServer(folder / "cluster", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    for _ in serve(server):
        server.tell("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        limit = time.monotonic() + 15
        while b"cluster_state:ok" not in server.tell("CLUSTER", "INFO"):
            assert time.monotonic() < limit
            time.sleep(0.01)
        yield server


@pytest.fixture(scope="session")
def watched(folder: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary, and the Sentinel that says where it is."""
    primary = RedisServer(folder / "primary")
    watch = f"sentinel monitor pictures 127.0.0.1 {primary.port} 1"
    sentinel = RedisServer(folder / "sentinel", watch, sentinel=True)
    for _ in serve(primary):
        for _ in serve(sentinel):
            yield primary, sentinel


@pytest.fixture(scope="session")
def encrypted(folder: Path) -> Iterator[tuple[RedisServer, Path]]:
    """A server that speaks TLS and nothing else, and the authority to trust."""
    certificate, key = make_certificate(folder)
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    server = RedisServer(folder / "tls", *files, "--tls-auth-clients", "no", tls=True)
    for _ in serve(server):
        yield server, certificate


def serve(server: RedisServer) -> Iterator[RedisServer]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["memory", "sealed", "redis", "rediss", "sentinel", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[OperableStore]:
    """An empty store of each kind."""
    opened = open_store(address_of(request), SEALED if request.param == "sealed" else CACHE, Metrics())
    await opened.purge("*")
    yield opened
    await opened.close()


def address_of(request: pytest.FixtureRequest) -> str:
    match request.param:
        case "redis":
            server = request.getfixturevalue("plain")
            return f"redis://:p%2Fw%3Ad@127.0.0.1:{server.port}/3"
        case "rediss":
            server, authority = request.getfixturevalue("encrypted")
            return f"rediss://localhost:{server.port}?ca={authority}"
        case "sentinel":
            _, sentinel = request.getfixturevalue("watched")
            return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/pictures"
        case "cluster":
            return f"redis+cluster://127.0.0.1:{request.getfixturevalue('clustered').port}"
        case _:
            return "memory://"
