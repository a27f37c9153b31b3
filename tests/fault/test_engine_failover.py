"""Of two engines one fails: callers hardly notice, it is left alone after five failures, and it is asked again soon after it has healed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.script import refusal
from tests.serving import GatewayProcess, environment, eventually
from tests.shapes import ask, chunks

FAILURES = {"resets": Script(fault=Fault.RESET), "says 500": refusal(500), "sends HTML": Script(fault=Fault.HTML)}


@pytest.fixture
def engines() -> Iterator[tuple[FakeEngine, FakeEngine]]:
    with FakeEngine() as bad, FakeEngine() as good:
        yield bad, good


@pytest.fixture
def gateway(engines: tuple[FakeEngine, FakeEngine]) -> Iterator[GatewayProcess]:
    bad, good = engines
    with GatewayProcess(bad.url, good.url, environ=environment(cache__enabled="false", timeouts__connect=0.5)) as gateway:
        eventually(
            lambda: gateway.client.get("/metrics").text.count("sightline_engine_up{") == 2 and "} 0.0" not in up(gateway), what="both up"
        )
        yield gateway


def up(gateway: GatewayProcess) -> str:
    return "\n".join(line for line in gateway.client.get("/metrics").text.splitlines() if line.startswith("sightline_engine_up{"))


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_after_five_failures_an_engine_is_left_alone(
    gateway: GatewayProcess, engines: tuple[FakeEngine, FakeEngine], failure: Script
) -> None:
    bad, good = engines
    bad.script = failure

    statuses = [gateway.chat(ask(stream=number % 2 == 0)).status_code for number in range(30)]

    assert statuses.count(200) >= 27  # three retries at once are the budget of a quiet gateway
    assert statuses[10:] == [200] * 20
    assert len(bad.calls) <= 6  # five, and perhaps a probe
    assert len(good.calls) >= 27


def test_it_is_asked_again_within_eleven_seconds_after_it_has_healed(
    gateway: GatewayProcess, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    bad, _ = engines
    bad.script = refusal(500)
    for _ in range(12):
        gateway.chat(ask())

    bad.forget()
    healed = time.monotonic()
    eventually(lambda: gateway.chat(ask()).status_code == 200 and bad.calls, 11, "a call of the healed engine")

    assert time.monotonic() - healed < 11
    assert all(gateway.chat(ask()).status_code == 200 for _ in range(10))


def test_an_engine_that_was_killed_and_came_back_is_asked_again(gateway: GatewayProcess, engines: tuple[FakeEngine, FakeEngine]) -> None:
    first, _ = engines
    first.refuse()
    assert [gateway.chat(ask()).status_code for _ in range(10)].count(200) >= 8

    first.listen()
    eventually(lambda: gateway.chat(ask()).status_code == 200 and first.calls, 11, "a call of the engine that came back")


def test_an_answer_that_has_begun_is_never_asked_for_again(gateway: GatewayProcess, engines: tuple[FakeEngine, FakeEngine]) -> None:
    for engine in engines:
        engine.script = Script(fault=Fault.CUT, after=2)

    response = gateway.chat(ask(stream=True))

    assert "[DONE]" not in response.text
    assert sum(len(engine.calls) for engine in engines) == 1


def test_while_one_is_busy_the_other_is_asked(gateway: GatewayProcess, engines: tuple[FakeEngine, FakeEngine]) -> None:
    first, second = engines
    first.script = Script(ttft=30)

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(gateway.chat, ask(stream=True))
        first.wait_for_call()
        answers = [gateway.chat(ask(stream=True)) for _ in range(3)]
        first.refuse()  # so that nobody waits 30 s
        waiting.result()

    assert all(chunks(answer) for answer in answers)
    assert len(second.calls) >= 3
