"""Behind nginx callers are told apart by the address that nginx saw; what they write into X-Forwarded-For changes nothing."""

from pathlib import Path

from tests.deploy.proxy import Nginx
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask


def test_a_claim_of_the_caller_is_not_passed_on(engine: FakeEngine, tmp_path: Path) -> None:
    limits = environment(limits__key__requests_per_minute=1, trusted_proxies="127.0.0.1,10.0.0.0/8")
    with GatewayProcess(engine.url, environ=limits) as gateway, Nginx(tmp_path / "etc", f"127.0.0.1:{gateway.port}") as nginx:
        ready(gateway)
        claims = ["203.0.113.1", "203.0.113.2", "10.0.0.1", "203.0.113.3, 10.0.0.1"]

        statuses = [nginx.chat(ask(), headers={"x-forwarded-for": claim}).status_code for claim in claims]
        told_apart = gateway.chat(ask(), headers={"x-forwarded-for": "203.0.113.9"}).status_code

    assert statuses == [200, 429, 429, 429]
    assert told_apart == 200  # by a proxy that is believed, so that the refusals above are nginx's doing
