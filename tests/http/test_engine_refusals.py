"""An engine's own 4xx keeps its status and message and takes our shape."""

import json

import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.script import context_length
from tests.fakes.script import refusal as refused
from tests.serving import GatewayProcess
from tests.shapes import ask, chunks, refusal


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "code"), [(400, "invalid_value"), (404, "model_not_found"), (413, "request_too_large"), (422, "invalid_value")]
)
def test_a_refusal_is_passed_on(gateway: GatewayProcess, engine: FakeEngine, status: int, code: str, stream: bool) -> None:
    engine.script = refused(status, "top_p must be in (0, 1], got 7.0.", param="top_p")

    error = refusal(gateway.chat(ask(stream=stream)), status, code)

    assert error["message"] == "top_p must be in (0, 1], got 7.0."
    assert error["param"] == "top_p"
    assert len(engine.calls) == 1


def test_a_prompt_that_does_not_fit_has_a_code_of_its_own(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = context_length()

    assert "2048 tokens" in refusal(gateway.chat(ask()), 400, "context_length_exceeded")["message"]


def test_an_engine_that_is_full_says_when_to_come_back(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = refused(429, "full", retry_after="7")

    response = gateway.chat(ask())

    refusal(response, 429, "rate_limit_exceeded", "rate_limit_error")
    assert response.headers["retry-after"] == "7"
    assert response.headers["retry-after-ms"] == "7000"


@pytest.mark.parametrize("given", ["86400", "-5", "soon", "", "nan", "inf", "1e300"])
def test_a_wait_that_makes_no_sense_is_bounded(gateway: GatewayProcess, engine: FakeEngine, given: str) -> None:
    engine.script = refused(429, "full", retry_after=given)

    response = gateway.chat(ask())

    refusal(response, 429, "rate_limit_exceeded", "rate_limit_error")
    assert 0 < int(response.headers["retry-after"]) <= 120


@pytest.mark.parametrize(
    "body",
    [b"", b"<h1>canary</h1>", b"canary", b'{"detail": "canary"}', b"[]", b'{"error": "canary"}', b'{"error": {"message": 5}}', b"\xff"],
)
def test_a_refusal_in_another_shape_keeps_its_status_and_gets_words_of_ours(
    gateway: GatewayProcess, engine: FakeEngine, body: bytes
) -> None:
    engine.script = Script(status=400, body=body)

    assert "canary" not in json.dumps(refusal(gateway.chat(ask()), 400, "invalid_value"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_our_own_key_is_not_the_callers_fault(gateway: GatewayProcess, engine: FakeEngine, status: int) -> None:
    engine.script = Script(status=status, body=b'{"error":"Unauthorized"}')

    refusal(gateway.chat(ask()), 502, "engine_error", "server_error")


def test_refusals_never_eject_an_engine(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.upcoming.extend([refused(400, "no")] * 30)
    for _ in range(30):
        gateway.chat(ask())

    assert chunks(gateway.chat(ask(stream=True)))
