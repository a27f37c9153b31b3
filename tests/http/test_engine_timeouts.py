"""Every wait for an engine has a limit: before the answer has begun it ends in a 504."""

import time

import pytest
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.proxy import unanswered_port
from tests.serving import GatewayProcess, environment
from tests.shapes import ask, chunks, refusal

SLOW = {
    "accepted and silent": Script(fault=Fault.SILENCE),
    "head and then silent": Script(ttft=60),
    "silent until its head": Script(ttft=60, hold_head=True),
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW.keys())
@pytest.mark.parametrize(("stream", "limit"), [(False, 0.5), (True, 0.3)])
def test_a_silent_engine_is_a_504_when_its_time_is_up(
    strict: GatewayProcess, engine: FakeEngine, script: Script, stream: bool, limit: float
) -> None:
    engine.script = script
    started = time.monotonic()

    response = strict.chat(ask(stream=stream))
    took = time.monotonic() - started

    refusal(response, 504, "engine_timeout", "server_error")
    assert limit <= took < limit * 1.1 + 0.2
    assert len(engine.calls) == 1


def test_the_engine_is_let_go_when_its_time_is_up(strict: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(fault=Fault.SILENCE)
    strict.chat(ask())

    call = engine.wait_for_call()
    engine.wait_for(lambda: call.left_at is not None, 1)


def test_an_engine_whose_address_swallows_packets_is_given_up_on() -> None:
    with unanswered_port() as port, GatewayProcess(f"http://127.0.0.1:{port}", environ=environment(timeouts__connect=0.3)) as gateway:
        started = time.monotonic()
        response = gateway.chat(ask())

        refusal(response, 503, "engine_unavailable", "server_error")
        assert time.monotonic() - started < 1


def test_a_slow_stream_that_keeps_coming_is_not_cut(strict: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=0.02, rate=20, tokens=16)  # most of a second in all, never near 0.3 s of silence

    assert len(chunks(strict.chat(ask(stream=True)))) == 17
