"""What an engine does wrong before its answer has begun is a 502 or 503 in our shape; nothing it sent leaks."""

import pytest
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.script import refusal as refused
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, refusal

BROKEN = [
    Fault.RESET,
    Fault.HANG_UP,
    Fault.NOT_HTTP,
    Fault.HTML,
    Fault.BAD_JSON,
    Fault.NESTED,
    Fault.GARBAGE,
    Fault.GZIP,
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_an_answer_that_is_none_is_a_502(gateway: GatewayProcess, engine: FakeEngine, fault: Fault, stream: bool) -> None:
    engine.script = Script(fault=fault, after=-1)  # already the event that tells the role

    response = gateway.chat(ask(stream=stream))

    refusal(response, 502, "engine_error", "server_error")
    assert "canary" not in response.text
    assert "smtp" not in response.text


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.HALF_CLOSE, Fault.LENGTH_TOO_LONG, Fault.LENGTH_TOO_SHORT, Fault.LONG_LINE], ids=str)
def test_a_json_answer_that_is_not_whole_is_a_502(strict: GatewayProcess, engine: FakeEngine, fault: Fault) -> None:
    engine.script = Script(fault=fault)

    response = strict.chat(ask())

    assert response.status_code in {502, 504}
    assert response.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("status", [500, 501, 502, 504, 301, 204, 100])
def test_a_status_that_is_the_engines_failure_is_a_502(strict: GatewayProcess, engine: FakeEngine, status: int) -> None:
    engine.script = refused(status, "canary: CUDA error", "InternalServerError", location="http://203.0.113.1/")

    response = strict.chat(ask())

    assert response.status_code in ({502} if status != 100 else {502, 504})
    assert "canary" not in response.text


def test_an_engine_that_is_not_ready_is_a_503(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = refused(503, "loading", "ServiceUnavailable")

    refusal(gateway.chat(ask()), 503, "engine_unavailable", "server_error")


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_refuses_connections_is_a_503(stream: bool) -> None:
    with FakeEngine() as engine, GatewayProcess(engine.url) as gateway:
        ready(gateway)
        engine.refuse()

        refusal(gateway.chat(ask(stream=stream)), 503, "engine_unavailable", "server_error")


def test_an_engine_that_never_was_up_is_a_503_with_a_wait() -> None:
    with FakeEngine() as engine:
        engine.refuse()
        with GatewayProcess(engine.url, environ=environment(timeouts__connect=0.3)) as gateway:
            response = gateway.chat(ask())

            refusal(response, 503, "engine_unavailable", "server_error")
            assert 0 < int(response.headers["retry-after"]) <= 120


def test_a_failed_request_is_asked_again_at_most_once(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(fault=Fault.RESET)

    gateway.chat(ask())

    assert len(engine.calls) <= 2


def test_a_connection_that_died_idle_is_not_noticed_by_the_client(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.upcoming.extend([Script(fault=Fault.RESET)])

    assert gateway.chat(ask()).status_code == 200
