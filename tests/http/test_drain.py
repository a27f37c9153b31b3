"""On SIGTERM readiness turns at once, what is under way is finished, and the process leaves with 0; a second signal ends it at once."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx
import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask, chunks


@pytest.fixture
def leaving(engine: FakeEngine) -> Iterator[GatewayProcess]:
    with GatewayProcess(engine.url, environ=environment(timeouts__drain=5)) as gateway:
        ready(gateway)
        yield gateway


def readiness(gateway: GatewayProcess) -> int | None:
    try:
        return httpx.get(f"{gateway.url}/health/ready", timeout=1).status_code
    except httpx.TransportError:
        return None


def test_a_stream_under_way_is_finished_and_the_exit_code_is_0(leaving: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(rate=10, tokens=20)  # two seconds
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(leaving.chat, ask(stream=True))
        call = engine.wait_for_call()
        engine.wait_for(lambda: call.tokens_sent > 0 or call.ended)

        leaving.signal(signal.SIGTERM)
        asked = time.monotonic()
        eventually(lambda: readiness(leaving) == 503, 1, "readiness 503")

        assert len(chunks(answer.result())) == 21
    assert leaving.process.wait(5 + 1 - (time.monotonic() - asked)) == 0


def test_a_stream_that_does_not_end_is_cut_when_the_window_closes(engine: FakeEngine) -> None:
    engine.script = Script(rate=10, tokens=1000)
    with GatewayProcess(engine.url, environ=environment(timeouts__drain=1.5)) as gateway, ThreadPoolExecutor() as threads:
        ready(gateway)
        answer = threads.submit(gateway.chat, ask(stream=True))
        engine.wait_for_call()

        gateway.signal(signal.SIGTERM)
        gateway.process.wait(10)

        (began,), (ended,) = gateway.events("gateway.draining"), gateway.events("gateway.stopped")
        took = datetime.fromisoformat(ended["ts"]) - datetime.fromisoformat(began["ts"])
        assert 1.4 <= took.total_seconds() <= 1.5 + 1
        with pytest.raises((httpx.TransportError, AssertionError)):
            chunks(answer.result())


def test_the_second_signal_ends_it_at_once(leaving: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(rate=1, tokens=1000)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(leaving.chat, ask(stream=True))
        engine.wait_for_call()
        leaving.signal(signal.SIGTERM)
        eventually(lambda: readiness(leaving) == 503)

        leaving.signal(signal.SIGTERM)

        leaving.process.wait(0.5)
        with pytest.raises(httpx.TransportError):
            answer.result()


def test_an_idle_gateway_leaves_soon(leaving: GatewayProcess) -> None:
    leaving.signal(signal.SIGTERM)

    assert leaving.process.wait(4) == 0


def test_an_interrupt_from_the_keyboard_does_the_same(leaving: GatewayProcess) -> None:
    leaving.signal(signal.SIGINT)

    assert leaving.process.wait(4) == 0
