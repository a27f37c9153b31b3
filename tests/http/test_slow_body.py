"""A body that stands still is given up on; one that is slow but comes is waited for."""

import time

from tests.serving import GatewayProcess, read_response
from tests.shapes import ask, head, refusal


def test_a_body_that_stands_still_is_refused_when_its_time_is_up(strict: GatewayProcess) -> None:
    with strict.connect() as wire:
        wire.sendall(head(100) + b'{"model":')
        started = time.monotonic()
        answer = read_response(wire)

    refusal(answer, 408, "request_timeout")
    assert 0.25 < time.monotonic() - started < 0.3 * 1.1 + 0.2


def test_a_connection_with_half_a_body_on_it_is_closed_after_the_refusal(strict: GatewayProcess) -> None:
    with strict.connect() as wire:
        wire.sendall(head(100) + b'{"model":')
        read_response(wire)
        assert wire.recv(1) == b""


def test_a_slow_body_that_comes_is_waited_for(strict: GatewayProcess) -> None:
    body = str(ask("slow")).replace("'", '"').encode()
    with strict.connect() as wire:
        wire.sendall(head(len(body)))
        for start in range(0, len(body), 20):
            wire.sendall(body[start : start + 20])
            time.sleep(0.1)  # in all longer than the limit of 0.3 s, never so long at once
        assert read_response(wire).status == 200
