"""An address may have so many connections open and no more; those that it has stay as good as they were."""

import json
import socket
from collections.abc import Iterator

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, eventually, read_response
from tests.shapes import ask, head, refusal

MOST = 4


@pytest.fixture
def crowded(engine: FakeEngine) -> Iterator[GatewayProcess]:
    with GatewayProcess(engine.url, environ=environment(limits__connections=MOST)) as gateway:
        gateway.client.close()  # its own connection would count
        yield gateway


def asked(wire: socket.socket) -> int:
    body = json.dumps(ask()).encode()
    wire.sendall(head(len(body)) + body)
    return read_response(wire).status


def test_one_more_than_allowed_is_refused_and_closed(crowded: GatewayProcess) -> None:
    eventually(lambda: all_open(crowded), what="all connections of the start to be closed")


def all_open(gateway: GatewayProcess) -> bool:
    """Whether MOST connections can be had at once; with what is beyond them refused, and one let in for one that closed."""
    wires = [gateway.connect() for _ in range(MOST)]
    try:
        if [asked(wire) for wire in wires] != [200] * MOST:
            return False
        with gateway.connect() as more:
            answer = read_response(more)
            refusal(answer, 429, "rate_limit_exceeded", "rate_limit_error")
            assert answer.headers["connection"] == "close"
            assert more.recv(1) == b""
        assert [asked(wire) for wire in wires] == [200] * MOST
        wires.pop().close()
        eventually(lambda: one_more(gateway), what="the place of the closed connection")
        return True
    finally:
        for wire in wires:
            wire.close()


def one_more(gateway: GatewayProcess) -> bool:
    with gateway.connect() as wire:
        return asked(wire) == 200
