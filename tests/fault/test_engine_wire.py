"""The wire between gateway and engine is slow, cut, or swallows everything: exact text, or a failure of the right shape in time."""

import json
import time
from collections.abc import Iterator

import pytest
from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.proxy import ChaosProxy
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, chunks, data_uri, events, picture, refusal, text_of


@pytest.fixture(scope="module")
def _line() -> Iterator[tuple[FakeEngine, ChaosProxy, GatewayProcess]]:
    limits = environment(
        cache__enabled="false", timeouts__first_token=1, timeouts__between_tokens=1, timeouts__answer=1, timeouts__connect=1
    )
    with (
        FakeEngine() as engine,
        ChaosProxy("127.0.0.1", engine.port) as wire,
        GatewayProcess(f"http://127.0.0.1:{wire.port}", environ=limits) as gateway,
    ):
        yield engine, wire, gateway


@pytest.fixture
def engine(_line: tuple[FakeEngine, ChaosProxy, GatewayProcess]) -> FakeEngine:
    _line[0].forget()
    return _line[0]


@pytest.fixture
def wire(_line: tuple[FakeEngine, ChaosProxy, GatewayProcess]) -> ChaosProxy:
    wire = _line[1]
    wire.delay, wire.rate, wire.blackhole = 0.0, 0.0, False
    return wire


@pytest.fixture
def gateway(_line: tuple[FakeEngine, ChaosProxy, GatewayProcess], engine: FakeEngine, wire: ChaosProxy) -> GatewayProcess:
    wire.cut()  # what an earlier test left on the way
    return ready(_line[2])


def test_a_slow_wire_changes_nothing_but_the_time(gateway: GatewayProcess, wire: ChaosProxy) -> None:
    wire.delay = 0.05
    body = ask(stream=True)

    assert text_of(chunks(gateway.chat(body))) == text_for(body)
    assert gateway.chat(ask(pictures=(data_uri(picture()),))).status_code == 200


def test_a_narrow_wire_changes_nothing_but_the_time(gateway: GatewayProcess, wire: ChaosProxy, engine: FakeEngine) -> None:
    wire.rate = 100_000
    engine.script = Script(text="grün " * 400, ttft=0.01)

    assert text_of(chunks(gateway.chat(ask(stream=True)))) == "grün " * 400


def test_a_cut_within_a_stream_ends_it_with_an_error(gateway: GatewayProcess, wire: ChaosProxy, engine: FakeEngine) -> None:
    engine.script = Script(rate=20, tokens=1000)
    with gateway.client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        wire.cut()
        rest = [line for line in lines if line]

    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "engine_error"


def test_a_wire_that_swallows_a_stream_is_given_up_on(gateway: GatewayProcess, wire: ChaosProxy, engine: FakeEngine) -> None:
    engine.script = Script(rate=20, tokens=1000)
    with gateway.client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        wire.blackhole = True
        started = time.monotonic()
        rest = [line for line in lines if line]

    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "engine_timeout"
    assert time.monotonic() - started < 1 * 1.1 + 0.3


def test_a_wire_that_swallows_a_question_is_a_504(gateway: GatewayProcess, wire: ChaosProxy) -> None:
    wire.blackhole = True

    refusal(gateway.chat(ask()), 504, "engine_timeout", "server_error")


def test_a_cut_between_questions_is_not_noticed(gateway: GatewayProcess, wire: ChaosProxy) -> None:
    assert gateway.chat(ask()).status_code == 200
    wire.cut()

    assert gateway.chat(ask()).status_code == 200
    assert events(gateway.chat(ask(stream=True)))[-1] == "[DONE]"
