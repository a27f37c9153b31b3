"""One gateway for most tests, and one with small limits, both in front of one fake engine; each test finds the engine as new."""

from collections.abc import Iterator

import pytest
from tests.fakes.engine import FakeEngine
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, ready


@pytest.fixture(scope="session")
def _engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def engine(_engine: FakeEngine) -> FakeEngine:
    _engine.forget()
    return _engine


@pytest.fixture(scope="session")
def _gateway(_engine: FakeEngine) -> Iterator[GatewayProcess]:
    with GatewayProcess(_engine.url, environ=environment(cache__enabled="false")) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    """With its default settings, but without the result cache: each question reaches the engine."""
    return ready(_gateway)


@pytest.fixture(scope="session")
def _strict(_engine: FakeEngine) -> Iterator[GatewayProcess]:
    small = environment(
        cache__enabled="false",
        timeouts__first_token=0.3,
        timeouts__between_tokens=0.3,
        timeouts__answer=0.5,
        timeouts__body=0.3,
        timeouts__connect=0.3,
        requests__body_bytes=100_000,
        requests__header_bytes=8_000,
        requests__messages=3,
        images__per_request=2,
        images__max_bytes=20_000,
    )
    with GatewayProcess(_engine.url, environ=small) as gateway:
        yield gateway


@pytest.fixture
def strict(_strict: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    """With limits that a test reaches soon: 0.3 s for all waits (0.5 s for a JSON answer), bodies of 100 kB, heads of 8 kB."""
    return ready(_strict)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real one, for all tests that break nothing in it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def _cached(_engine: FakeEngine, redis: RedisServer) -> Iterator[GatewayProcess]:
    with GatewayProcess(_engine.url, environ=environment(store=redis.url, cache__timeout=1)) as gateway:
        yield gateway


@pytest.fixture
def cached(_cached: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    """With the result cache in a real Redis, which may take its time: a busy machine is no fault."""
    return ready(_cached)
