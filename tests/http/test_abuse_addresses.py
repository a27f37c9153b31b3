"""Behind trusted proxies callers are told apart by the address that the nearest trusted hop vouches for; nobody else is believed."""

from collections.abc import Iterator

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask


@pytest.fixture
def behind(engine: FakeEngine, request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    limits = environment(limits__key__requests_per_minute=1, trusted_proxies=request.param)
    with GatewayProcess(engine.url, environ=limits) as gateway:
        yield ready(gateway)


def statuses(gateway: GatewayProcess, *claims: str) -> list[int]:
    return [gateway.chat(ask(), headers={"x-forwarded-for": claim}).status_code for claim in claims]


@pytest.mark.parametrize("behind", ["127.0.0.0/8,10.0.0.0/8"], indirect=True)
def test_callers_behind_a_trusted_proxy_are_told_apart(behind: GatewayProcess) -> None:
    assert statuses(behind, "203.0.113.1", "203.0.113.2", "203.0.113.1, 10.0.0.7", "203.0.113.3") == [200, 200, 429, 200]


@pytest.mark.parametrize("behind", ["127.0.0.0/8,10.0.0.0/8"], indirect=True)
def test_what_a_caller_writes_in_front_of_the_proxies_words_changes_nothing(behind: GatewayProcess) -> None:
    assert statuses(behind, "1.1.1.1, 203.0.113.1", "2.2.2.2, 203.0.113.1", "10.0.0.1, 203.0.113.1", "x, 203.0.113.1") == [
        200,
        429,
        429,
        429,
    ]


@pytest.mark.parametrize("behind", ["10.0.0.0/8"], indirect=True)
def test_loopback_is_not_trusted_unless_it_is_named(behind: GatewayProcess) -> None:
    assert statuses(behind, "203.0.113.1", "203.0.113.2") == [200, 429]
