"""Liveness says that the process turns; readiness that it takes new work. Neither asks for a key, and neither is cached anywhere."""

from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, eventually, free_port


def test_with_an_engine_up_the_gateway_is_live_and_ready(gateway: GatewayProcess) -> None:
    assert gateway.client.get("/health/live").status_code == 200
    assert gateway.client.get("/health/ready").status_code == 200


def test_an_engine_that_is_down_at_the_start_leaves_the_gateway_live_but_not_ready_and_is_named_in_the_log() -> None:
    port = free_port()
    with GatewayProcess(f"http://127.0.0.1:{port}") as gateway:
        assert gateway.client.get("/health/live").status_code == 200
        assert gateway.client.get("/health/ready").status_code == 503
        eventually(lambda: gateway.events("engine.unreachable"), what="a line that names the engine")
        (line,) = gateway.events("engine.unreachable")
        assert f"127.0.0.1:{port}" in str(line)
        assert line["level"] == "warning"
        assert line["reason"] == "The engine cannot be reached."


def test_what_is_no_engine_is_named_with_the_reason() -> None:
    """A gateway's own port, say: it has no /health of an engine's."""
    with FakeEngine() as engine, GatewayProcess(engine.url) as other, GatewayProcess(f"{other.url}/v1/none") as gateway:
        eventually(lambda: gateway.events("engine.unreachable"), what="a line that names the engine")
        (line,) = gateway.events("engine.unreachable")
        assert line["reason"] == "GET /health: status 404"


def test_readiness_follows_the_engine() -> None:
    with FakeEngine() as engine, GatewayProcess(engine.url, environ=environment(timeouts__connect=0.5)) as gateway:
        eventually(lambda: gateway.client.get("/health/ready").status_code == 200, what="ready")

        engine.refuse()
        eventually(lambda: gateway.client.get("/health/ready").status_code == 503, what="unready after the engine went")

        engine.listen()
        eventually(lambda: gateway.client.get("/health/ready").status_code == 200, what="ready after the engine came back")
