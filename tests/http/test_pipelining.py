"""Requests behind one another on one connection: each is answered in its turn, and each ends when the connection does."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.caching import in_flight
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, environment, eventually, read_response, ready
from tests.shapes import ask, head, post


def request(body: dict[str, object]) -> bytes:
    return post(json.dumps(body).encode())


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
@pytest.mark.parametrize("wrong", [b"hello\r\n\r\n", b"POST /v1/chat/completions HTTP/1.1\r\n\r\n"], ids=["no request", "no host"])
def test_what_is_no_request_is_refused_after_the_answer_before_it(
    gateway: GatewayProcess, engine: FakeEngine, wrong: bytes, stream: bool
) -> None:
    engine.upcoming += [Script(text="the answer", ttft=0.3)]
    with gateway.connect() as wire:
        wire.sendall(request(ask(stream=stream)) + wrong + request(ask()))
        told = b"".join(iter(lambda: wire.recv(65536), b""))

    answer, middle, refusal = told.partition(b"HTTP/1.1 400 Bad Request\r\n")
    assert middle
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"0\r\n\r\n" if stream else b"}")
    assert refusal.endswith(b"}}")
    assert len(engine.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_with_a_request_behind_is_noticed(gateway: GatewayProcess, engine: FakeEngine, stream: bool) -> None:
    engine.upcoming += [Script(ttft=30)]
    with gateway.connect() as wire:
        wire.sendall(request(ask(stream=stream)) + request(ask()))
        engine.wait_for_call()

    engine.wait_for(lambda: engine.calls[0].ended)
    assert engine.calls[0].left_at is not None
    eventually(lambda: in_flight(gateway) == 0, what="nothing in flight")


@pytest.mark.parametrize("stream", [False, True])
def test_kept_answers_that_nobody_reads_are_not_piled_up(engine: FakeEngine, stream: bool) -> None:
    """A few hundred bytes ask for 200 kB each time."""
    kept = ask("long")
    engine.upcoming += [Script(text="x" * 200_000)]
    with GatewayProcess(engine.url, environ=environment()) as gateway:
        _piled(ready(gateway), kept, stream=stream)


def _piled(gateway: GatewayProcess, kept: dict[str, object], *, stream: bool) -> None:
    assert gateway.chat(kept).status_code == 200
    eventually(lambda: gateway.chat(kept).headers["x-cache"] == "HIT", what="it to be kept")
    before = gateway.memory()
    with gateway.connect() as wire, ThreadPoolExecutor() as threads:
        wire.settimeout(30)
        sending = threads.submit(wire.sendall, request(kept | {"stream": stream}) * 500)  # 100 MB of answers
        eventually(lambda: in_flight(gateway) > 0 or sending.done(), what="it to be asked")
        told = b""
        while told.count(b"HTTP/1.1 200 OK") < 500:  # what has been read is let go, but for a head that is cut in two
            told = told.replace(b"x" * 1000, b"") + wire.recv(2**20)
        sending.result()

    assert gateway.peak_memory() - before < 40 * 2**20


def test_blanks_after_a_field_are_not_of_its_value(gateway: GatewayProcess) -> None:
    body = json.dumps(ask()).encode()
    with gateway.connect() as wire:
        wire.sendall(
            head(len(body)).replace(b"application/json", b"application/json \t").replace(b"%d\r" % len(body), b"%d \r" % len(body)) + body
        )
        assert read_response(wire).status == 200


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
