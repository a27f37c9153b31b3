"""Requests behind one another on one connection: each is answered in its turn, and each ends when the connection does."""

import json

import pytest
from tests.caching import in_flight
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, eventually, read_response
from tests.shapes import ask, head


def request(body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    return head(len(data)) + data


def test_answers_come_in_the_order_of_the_requests(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.upcoming += [Script(text="first", ttft=0.2), Script(text="second")]
    with gateway.connect() as wire:
        wire.sendall(request(ask()) + request(ask()) + request({"model": "nobody's", "messages": [{"role": "user", "content": "?"}]}))
        answers = [read_response(wire) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 404]
    assert [json.loads(answer.body)["choices"][0]["message"]["content"] for answer in answers[:2]] == ["first", "second"]


def test_hundreds_of_refusals_are_hundreds_of_answers(gateway: GatewayProcess) -> None:
    """A refused request is answered as it begins, and the next begins when it is answered: that must not nest."""
    refused = head(0).replace(b"application/json", b"text/plain")
    with gateway.connect(20) as wire:
        wire.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + refused * 400)
        statuses = [read_response(wire).status for _ in range(401)]

    assert statuses == [200] + [415] * 400
    eventually(lambda: in_flight(gateway) == 0, what="nothing in flight")


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_ends_the_one_that_is_being_answered(gateway: GatewayProcess, engine: FakeEngine, stream: bool) -> None:
    engine.upcoming += [Script(), Script(ttft=30)]
    with gateway.connect() as wire:
        wire.sendall(request(ask()) + request(ask(stream=stream)) + request(ask()))
        assert read_response(wire).status == 200
        engine.wait_for_call(2)

    engine.wait_for(lambda: engine.calls[1].ended)
    assert engine.calls[1].left_at is not None
    eventually(lambda: in_flight(gateway) == 0, what="nothing in flight")
    assert len(engine.calls) == 2


def test_a_body_in_tiny_chunks_costs_its_bytes_and_not_thirty_times_as_much(gateway: GatewayProcess) -> None:
    body = json.dumps(ask("x" * 2_000_000)).encode()
    chunks = b"".join(b"2\r\n%b\r\n" % body[at : at + 2] for at in range(0, len(body) - 1, 2))
    rest = body[len(body) // 2 * 2 :]
    before = gateway.memory()
    with gateway.connect(20) as wire:
        wire.sendall(head(None, "Transfer-Encoding: chunked") + chunks + (b"1\r\n%b\r\n" % rest if rest else b"") + b"0\r\n\r\n")
        assert read_response(wire).status == 200

    assert gateway.peak_memory() - before < 40 * 2**20
