"""What tests of more than one folder ask for by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.redis_server import RedisServer
from xdist.remote import Producer  # type: ignore[import-untyped]  # xdist has no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # see above
    """A file's tests stay together, and all that ask the one real engine do. (xdist's own groups stand in an attribute that pytest 9.2 has
    no more, so that they came apart.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/engine" if file.startswith("tests/engine/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    config.option.loadscopereorder = False  # the files that take longest have few tests, and would all come last
    return ByFile(config, log)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real redis-server of the test's own, started, with nothing in it."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()
