"""A client that stops reading holds up its own stream and nothing else: the engine is not read ahead of it.

Measured without the result cache, whose flights keep up to `cache.value_bytes` of an answer under way for others to join.
"""

import json
import socket
from contextlib import ExitStack

import pytest
from tests.caching import in_flight
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask, head

CLIENTS = 100


def test_100_clients_that_stop_reading_cost_at_most_a_megabyte_each_and_are_cut_off_in_time() -> None:
    endless = Script(fault=Fault.ENDLESS, text="x" * 2_000)
    with ExitStack() as stack:
        engine = stack.enter_context(FakeEngine(script=endless))
        gateway = stack.enter_context(GatewayProcess(engine.url, environ=environment(timeouts__client=4, cache__enabled="false")))
        ready(gateway)
        before = gateway.memory()
        for _ in range(CLIENTS):
            body = json.dumps(ask(stream=True)).encode()
            wire = stack.enter_context(socket.socket())
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that the kernel holds little of it
            wire.connect(("127.0.0.1", gateway.port))
            wire.sendall(head(len(body)) + body)
        engine.wait_for_call(CLIENTS, 20)

        eventually(lambda: all(call.ended for call in engine.calls), 30, "every stream cut off")

        assert all(call.left_at is not None for call in engine.calls)
        assert gateway.peak_memory() - before < CLIENTS * 2**20
        assert gateway.client.get("/health/live").status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openapi.json"], ids=["answers", "pages"])
def test_requests_behind_one_another_whose_answers_nobody_reads_give_their_places_back(path: str) -> None:
    with ExitStack() as stack:
        engine = stack.enter_context(FakeEngine())
        gateway = ready(stack.enter_context(GatewayProcess(engine.url, environ=environment(timeouts__client=1))))
        body = json.dumps(ask()).encode()
        request = head(len(body)) + body if path.startswith("/v1") else f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        wire = stack.enter_context(socket.socket())
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.settimeout(15)
        wire.connect(("127.0.0.1", gateway.port))
        with pytest.raises(ConnectionError):  # in the end the gateway reads no more either, since it cannot write; and then it cuts him off
            wire.sendall(request * (2**25 // len(request)))

        eventually(lambda: in_flight(gateway) == 0, 10, "nothing in flight")
