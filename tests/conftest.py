"""What tests of more than one folder ask for by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.redis_server import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real redis-server of the test's own, started, with nothing in it."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()
