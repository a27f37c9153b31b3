"""Who sends wrong keys again and again is told to wait; who has a right one is let in, and one address's wrongs are no other's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.engine import FakeEngine
from tests.keyring import KeyRing, bearer
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, refusal


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.yaml")


@pytest.fixture
def key(keys: KeyRing) -> str:
    return keys.new()


@pytest.fixture
def wary(engine: FakeEngine, keys: KeyRing, key: str) -> Iterator[GatewayProcess]:
    assert key
    settings = environment(keys_file=keys.file, limits__failed_auth=3, trusted_proxies="127.0.0.1")
    with GatewayProcess(engine.url, environ=settings) as gateway:
        yield ready(gateway)


def test_after_so_many_wrong_keys_there_is_a_wait(wary: GatewayProcess, key: str) -> None:
    def wrong(number: int, address: str = "203.0.113.1") -> int:
        return wary.chat(ask(), headers=bearer(f"sl-wrong-{number}") | {"x-forwarded-for": address}).status_code

    assert [wrong(number) for number in range(5)] == [401, 401, 401, 429, 429]
    assert wrong(5, "203.0.113.2") == 401
    over = wary.chat(ask(), headers={"x-forwarded-for": "203.0.113.1"})
    refusal(over, 429, "rate_limit_exceeded", "rate_limit_error")
    assert 0 < int(over.headers["retry-after"]) <= 20
    assert wary.chat(ask(), headers=bearer(key) | {"x-forwarded-for": "203.0.113.1"}).status_code == 200
    assert 'sightline_rate_limited_total{kind="failed_auth"} 3.0' in wary.client.get("/metrics").text
