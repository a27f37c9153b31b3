"""A failure after the answer has begun ends the stream with an error event and no [DONE]; openai-python raises APIError on it."""

import json

import openai
import pytest
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.serving import GatewayProcess
from tests.shapes import ask, events

FAULTS = [
    Fault.STALL,
    Fault.CUT,
    Fault.HALF_CLOSE,
    Fault.ERROR_EVENT,
    Fault.BAD_JSON,
    Fault.NESTED,
    Fault.NO_DONE,
    Fault.LONG_LINE,
    Fault.LONG_TAIL,
    Fault.LENGTH_TOO_SHORT,
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_stream_ends_with_an_error_and_without_done(strict: GatewayProcess, engine: FakeEngine, fault: Fault) -> None:
    engine.script = Script(fault=fault, after=3, rate=200)

    response = strict.chat(ask(stream=True))

    assert response.status_code == 200
    found = events(response)
    assert "[DONE]" not in found
    error = json.loads(found[-1])
    assert set(error) == {"error"}
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert error["error"]["type"] == "server_error"
    assert error["error"]["code"] == ("engine_timeout" if fault is Fault.STALL else "engine_error")
    assert "EngineCore" not in response.text
    assert len(engine.calls) == 1


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.CUT, Fault.ERROR_EVENT], ids=str)
def test_what_came_before_the_failure_is_handed_on(strict: GatewayProcess, engine: FakeEngine, fault: Fault) -> None:
    engine.script = Script(fault=fault, after=3, rate=50)

    tokens = [json.loads(event) for event in events(strict.chat(ask(stream=True)))[:-1]]

    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in tokens) == "Café 日本 🦊 "


def test_openai_python_raises_on_it(strict: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(fault=Fault.CUT, after=3, rate=50)
    with openai.OpenAI(base_url=f"{strict.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(**ask(stream=True))
        with pytest.raises(openai.APIError) as raised:
            list(stream)

    assert raised.value.code == "engine_error"


def test_the_engine_is_let_go_after_a_stall(strict: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(fault=Fault.STALL, after=3)
    strict.chat(ask(stream=True))

    call = engine.wait_for_call()
    engine.wait_for(lambda: call.left_at is not None, 1)


def test_the_log_tells_the_failure_and_counts_no_success(strict: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(fault=Fault.CUT, after=3)

    response = strict.chat(ask(stream=True))

    assert strict.finished(response.headers["x-request-id"])["code"] == "engine_error"
