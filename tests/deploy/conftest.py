"""One gateway as it stands behind nginx (it believes loopback), and nginx in front of it, for the tests that break neither."""

from collections.abc import Iterator

import pytest
from tests.deploy.proxy import Nginx
from tests.fakes.engine import FakeEngine
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
    with GatewayProcess(_engine.url, environ=environment(cache__enabled="false", trusted_proxies="127.0.0.1")) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    return ready(_gateway)


@pytest.fixture(scope="session")
def _nginx(_gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx") / "etc", f"127.0.0.1:{_gateway.port}") as nginx:
        yield nginx


@pytest.fixture
def nginx(_nginx: Nginx, gateway: GatewayProcess) -> Nginx:
    """With the files as they are shipped."""
    return _nginx
