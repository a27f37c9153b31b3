"""What a client holds goes back when it leaves: its place at once, its tokens unless the engine works on for others."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask, head

DAY = 100_000  # tokens; they come back at midnight only, so what is left is a plain number


@pytest.fixture
def limited(engine: FakeEngine) -> Iterator[GatewayProcess]:
    limits = environment(limits__key__tokens_per_day=DAY, limits__key__concurrent_requests=2, limits__engine_requests=2)
    with GatewayProcess(engine.url, environ=limits) as gateway:
        yield ready(gateway)


def leaving(gateway: GatewayProcess, **fields: Any) -> socket.socket:
    body = json.dumps(ask(**fields)).encode()
    wire = gateway.connect()
    wire.sendall(head(len(body)) + body)
    return wire


@pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=["whole", "streamed"])
def test_places_and_tokens_come_back(limited: GatewayProcess, engine: FakeEngine, fields: dict[str, Any]) -> None:
    engine.script = Script(ttft=30)
    for round_ in range(3):
        wires = [leaving(limited, max_tokens=1000, **fields) for _ in range(2)]
        engine.wait_for_call(2 * round_ + 2)
        for wire in wires:
            wire.close()
        eventually(lambda: all(call.ended for call in engine.calls), what="the engine's calls closed")
    engine.script = Script()

    answer = limited.chat(ask(max_tokens=1000))

    assert answer.status_code == 200
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) > DAY - 1100  # its own reservation, and nobody else's


def test_who_leaves_a_call_that_goes_on_for_others_has_paid_for_it(limited: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=1)
    with ThreadPoolExecutor() as threads:
        first = leaving(limited, text="shared", max_tokens=1000)
        engine.wait_for_call()
        second = threads.submit(limited.chat, ask("shared", max_tokens=1000))
        eventually(lambda: "sightline_in_flight_requests 3.0" in limited.client.get("/metrics").text, what="both to be under way")
        first.close()
        assert second.result().headers["x-cache"] == "COALESCED"

    hit = limited.chat(ask("shared", max_tokens=1000))

    assert hit.headers["x-cache"] == "HIT"
    assert int(hit.headers["x-ratelimit-remaining-tokens"]) <= DAY - 1000
    assert len(engine.calls) == 1
