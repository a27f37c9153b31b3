"""Who sends its head or its body too slowly is cut off by nginx, and no gateway hears of it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.proxy import Nginx
from tests.serving import GatewayProcess
from tests.shapes import ask, head

# As shipped but for the figures, which would make these tests as long.
HASTY = {"client_header_timeout 10s": "client_header_timeout 300ms", "client_body_timeout 15s": "client_body_timeout 300ms"}


@pytest.fixture
def hasty(gateway: GatewayProcess, tmp_path: Path) -> Iterator[Nginx]:
    with Nginx(tmp_path / "etc", f"127.0.0.1:{gateway.port}", changed=HASTY) as nginx:
        yield nginx


def cut_off(wire: socket.socket) -> bool:
    """Whether the other side ends this connection without a word; waits for it."""
    try:
        return wire.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nX-Request-ID: slow-one\r\n",
        head(1000, "X-Request-ID: slow-one") + b"{",
    ],
    ids=["nothing", "a head that does not end", "a body that stands still"],
)
def test_who_stands_still_is_cut_off(hasty: Nginx, gateway: GatewayProcess, begun: bytes) -> None:
    with hasty.connect() as wire:
        wire.sendall(begun)
        assert cut_off(wire)

    assert not gateway.events("request.finished", request_id="slow-one")
    assert hasty.chat(ask()).status_code == 200


def test_a_head_that_comes_byte_by_byte_is_cut_off_too(hasty: Nginx) -> None:
    """Its limit is on the whole head: each byte does not begin it anew."""
    with hasty.connect() as wire:
        stop = threading.Event()

        def drip() -> None:
            wire.sendall(b"GET / HTTP/1.1\r\nHost: gateway\r\nX-Slow: ")
            while not stop.wait(0.05):
                try:
                    wire.sendall(b"a")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert cut_off(wire)
        finally:
            stop.set()
            dripping.join()
