"""A client that leaves frees the engine within 200 ms, whatever it was waiting for."""

import json
import socket
import time
from typing import Any

import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, eventually
from tests.shapes import ask, head

PROMISE = 0.2


def send(gateway: GatewayProcess, request_id: str = "leaving", **fields: Any) -> socket.socket:
    body = json.dumps(ask(**fields)).encode()
    wire = gateway.connect()
    wire.sendall(head(len(body), f"X-Request-ID: {request_id}") + body)
    return wire


WAITING: dict[str, tuple[dict[str, Any], Script]] = {
    "JSON before its answer": ({}, Script(ttft=30)),
    "JSON before its head": ({}, Script(ttft=30, hold_head=True)),
    "stream before its first token": ({"stream": True}, Script(ttft=30)),
    "stream between tokens": ({"stream": True}, Script(rate=0.1)),
    "stream of many tokens": ({"stream": True}, Script(rate=200, tokens=100_000)),
}


@pytest.mark.parametrize(("fields", "script"), WAITING.values(), ids=WAITING.keys())
@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_engine_sees_its_connection_closed(
    gateway: GatewayProcess, engine: FakeEngine, fields: dict[str, Any], script: Script, how: str
) -> None:
    engine.script = script
    wire = send(gateway, **fields)
    call = engine.wait_for_call()
    if "stream" in fields and script.rate:
        wire.recv(1)

    if how == "reset":
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    left = time.monotonic()
    wire.close()

    engine.wait_for(lambda: call.ended)
    assert call.left_at is not None
    assert call.left_at - left < PROMISE


def test_a_client_that_leaves_while_it_uploads_costs_no_engine_call(gateway: GatewayProcess, engine: FakeEngine) -> None:
    gateway.finished(gateway.chat(ask()).headers["x-request-id"])  # lines come in order, so all before it are there
    before, asked = len(gateway.events("request.finished")), len(engine.calls)
    with gateway.connect() as wire:
        wire.sendall(head(1000) + b'{"model"')

    eventually(lambda: len(gateway.events("request.finished")) > before, what="a log line for the client that left")
    assert len(engine.calls) == asked


def test_leaving_is_an_outcome_of_its_own(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=30)
    wire = send(gateway, "leaving-and-counted")
    engine.wait_for_call()
    before = gateway.client.get("/metrics").text
    wire.close()

    assert gateway.finished("leaving-and-counted")["status"] == 499
    assert disconnects(gateway.client.get("/metrics").text) == disconnects(before) + 1


def disconnects(metrics: str) -> float:
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("sightline_client_disconnects_total"))


def test_nothing_is_in_flight_afterwards(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=30)
    for _ in range(5):
        send(gateway, stream=True).close()

    def idle() -> bool:
        found = {
            line.split()[0]: float(line.split()[1])
            for line in gateway.client.get("/metrics").text.splitlines()
            if "in_flight" in line and line[0] != "#"
        }
        return found == {"sightline_in_flight_requests": 1.0, "sightline_in_flight_bytes": 0.0}  # the one that reads the metrics

    eventually(idle, what="nothing in flight")
    engine.wait_for(lambda: all(call.ended for call in engine.calls))
