"""What tests of more than one folder ask for by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.redis_server import RedisServer


def pytest_itemcollected(item: pytest.Item) -> None:
    """With several workers (`pytest -n 2 --dist loadgroup`) a file's tests stay together, and all that ask the one real engine do."""
    folder = item.path.parent
    item.add_marker(pytest.mark.xdist_group("engine" if folder.name == "engine" and folder.parent.name == "tests" else str(item.path)))


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real redis-server of the test's own, started, with nothing in it."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()
