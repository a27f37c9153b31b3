"""A request's head is limited, complete or not: a client that sends headers for ever is cut off."""

import contextlib

import pytest
from tests.serving import GatewayProcess, read_response
from tests.shapes import head

FLOODS = {
    "one long header": "X-Long: " + "x" * 200_000,
    "5 MB of headers": "\r\n".join(f"X-{i}: {'x' * 5000}" for i in range(1000)),
    "20 000 headers": "\r\n".join(f"X-{i}: 1" for i in range(20_000)),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_head_over_the_limit_is_refused(gateway: GatewayProcess, flood: str) -> None:
    with gateway.connect() as wire:
        try:
            wire.sendall(head(2, flood) + b"{}")
        except (BrokenPipeError, ConnectionResetError):
            return  # refused before it was all sent
        try:
            answer = read_response(wire)
        except ConnectionResetError:
            return
    assert answer.status in {400, 431}


def test_a_head_that_never_ends_is_refused(strict: GatewayProcess) -> None:
    with strict.connect() as wire:
        wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"x" * 9_000)
        answer = read_response(wire)

    assert answer.status == 431
    assert b'"error"' in answer.body
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("after", [b"X-Endless: " + b"x" * 9_000, b"X-Many: 1\r\n" * 900], ids=["one", "many"])
def test_fields_after_the_last_chunk_that_never_end_are_refused(strict: GatewayProcess, after: bytes) -> None:
    with strict.connect() as wire:
        wire.sendall(head(None, "Transfer-Encoding: chunked", path="/nothing") + b"2\r\n{}\r\n0\r\nX-First: 1\r\n")
        assert read_response(wire).status == 404  # what is not there is answered before the request's end
        with contextlib.suppress(OSError):
            for at in range(0, len(after), 1000):
                wire.sendall(after[at : at + 1000])
        try:
            answer = read_response(wire)
        except ConnectionResetError:
            return

    assert answer.status == 431


def test_a_body_in_chunks_is_no_head_however_long(strict: GatewayProcess) -> None:
    chunk = b"%x\r\n%b\r\n" % (4_000, b" " * 4_000)
    with strict.connect() as wire:
        wire.sendall(head(None, "Transfer-Encoding: chunked"))
        for _ in range(20):
            wire.sendall(chunk)
        wire.sendall(b"0\r\n\r\n")

        assert read_response(wire).status == 400


def test_a_head_within_the_limit_is_taken(gateway: GatewayProcess) -> None:
    assert gateway.client.get("/health/live", headers={"x-long": "x" * 60_000}).status_code == 200


def test_the_gateway_is_well_after_a_flood(gateway: GatewayProcess) -> None:
    test_a_head_over_the_limit_is_refused(gateway, FLOODS["20 000 headers"])

    assert gateway.client.get("/health/live").status_code == 200
