"""A connection that is kept sends the same head again and again: each request is answered for itself, however it comes."""

import io
import itertools
import json
import time
from random import Random
from typing import Any

import pytest
from PIL import Image
from tests.caching import in_flight
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, environment, eventually, read_response, ready
from tests.shapes import ask, data_uri, head, post, question


def long_picture() -> str:
    file = io.BytesIO()
    Image.effect_noise((400, 400), 100).save(file, "PNG")
    return data_uri(file.getvalue())


def body(text: str, **fields: Any) -> bytes:
    return json.dumps(ask(text, **fields)).encode()


def asked(engine: FakeEngine) -> list[str]:
    return [call.json["messages"][0]["content"] for call in engine.calls]


@pytest.mark.parametrize("cut", ["whole", "behind the head", "within the body", "within the head", "byte by byte"])
def test_each_is_answered_for_itself(gateway: GatewayProcess, engine: FakeEngine, cut: str) -> None:
    texts = [f"question {10**number}" for number in range(4)]
    with gateway.connect() as wire:
        for text in texts:
            data, start = post(body(text)), len(head(len(body(text))))
            size = {"whole": len(data), "behind the head": start, "within the body": start + 20, "within the head": start - 5}.get(cut, 1)
            pieces = [data[:size], data[size:]] if size > 1 else [data[at : at + 1] for at in range(len(data))]
            for piece in pieces:
                wire.sendall(piece)
                time.sleep(0.02 if size > 1 else 0)  # pieces that come together are read together; either way the answer is the same
            assert read_response(wire).status == 200

    assert asked(engine) == texts
    eventually(lambda: in_flight(gateway) == 0, what="nothing in flight")


def test_the_next_may_come_with_it(gateway: GatewayProcess, engine: FakeEngine) -> None:
    texts = ["one", "two", "three"]
    with gateway.connect() as wire:
        wire.sendall(post(body("zero")))
        assert read_response(wire).status == 200
        wire.sendall(b"".join([post(body(text)) for text in texts]))
        assert [read_response(wire).status for _ in texts] == [200] * 3

    assert asked(engine) == ["zero", *texts]


def test_a_long_body_and_what_follows_it(gateway: GatewayProcess, engine: FakeEngine) -> None:
    """The rest of a long body is read past the parser, which then is to see the next head whole."""
    long = body("look", pictures=(long_picture(),))
    with gateway.connect() as wire:
        for data in (long, body("short"), long, long, body("short again")):
            wire.sendall(post(data))
            assert read_response(wire).status == 200
        wire.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(wire).status == 200

    assert [type(content) for content in asked(engine)] == [list, str, list, list, str]


@pytest.mark.parametrize("first", [0, 5000], ids=["its body", "most of its body"])
def test_a_long_body_that_had_to_wait_ends_where_it_ends(gateway: GatewayProcess, engine: FakeEngine, first: int) -> None:
    """Its head was parsed before its turn, so the rest is read past a parser that expects it. Nothing in the next body is a request."""
    engine.upcoming += [Script(ttft=0.5)]
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    two = body("two") + b" " * 100_000
    with gateway.connect(5) as wire:
        wire.sendall(post(body("one")))
        engine.wait_for_call()
        wire.sendall(head(len(two)) + two[:first])
        assert read_response(wire).status == 200
        for piece in (two[first : first + 5000], two[first + 5000 :]):
            wire.sendall(piece)
            time.sleep(0.1)  # a read of the parser, then one past it; were they one, the answers would be the same
        assert read_response(wire).status == 200
        wire.sendall(post(hidden * 4000, "X-Other: 1"))
        assert read_response(wire).status == 400
        wire.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        models = read_response(wire)

    assert models.status == 200
    assert b'"list"' in models.body
    assert asked(engine) == ["one", "two"]


def test_a_body_of_which_much_came_before_its_turn_is_read_on(gateway: GatewayProcess, engine: FakeEngine) -> None:
    """What waits in the kernel when its turn comes is read a moment before it begins, and stops the reading once more."""
    engine.upcoming += [Script(ttft=0.4)]
    two = body("two") + b" " * 150_000
    with gateway.connect(5) as wire:
        wire.sendall(post(body("one")))
        engine.wait_for_call()
        for piece in (head(len(two)) + two[:70_000], two[70_000:110_000]):
            wire.sendall(piece)
            time.sleep(0.1)  # the second is to wait until reading goes on; wherever it is then, it is answered
        assert read_response(wire).status == 200
        time.sleep(0.1)
        wire.sendall(two[110_000:])
        assert read_response(wire).status == 200

    assert asked(engine) == ["one", "two"]


def _any_request(random: Random) -> tuple[bytes, int, str | None]:
    """A request, the status that it is due, and the question that the engine is due."""
    kind = random.choice(["plain", "plain", "plain", "streamed", "long", "other head", "chunked", "wrong", "empty", "models"])
    text = question()
    data = body(text, stream=kind == "streamed") + (b" " * random.randrange(40_000, 150_000) if kind == "long" else b"")
    match kind:
        case "other head":
            return post(data, f"X-Other: {text}"), 200, text
        case "chunked":
            return head(None, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data), 200, text
        case "wrong":
            return post(b"x" * len(data)), 400, None
        case "empty":
            return head(0), 400, None
        case "models":
            return b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 200, None
    return post(data), 200, text


@pytest.mark.parametrize("seed", range(32))
def test_however_a_connection_is_cut_each_request_has_its_own_answer(gateway: GatewayProcess, engine: FakeEngine, seed: int) -> None:
    """Some wait for the answers before them, some do not; what is read at once never matches what was sent at once."""
    random = Random(seed)
    requests = [_any_request(random) for _ in range(14)]
    unread: list[int] = []
    with gateway.connect(10) as wire:
        for data, status, _ in requests:
            cuts = sorted(random.sample(range(1, len(data)), min(len(data) - 1, random.randrange(4))))
            for first, last in itertools.pairwise([0, *cuts, len(data)]):
                wire.sendall(data[first:last])
                time.sleep(random.choice([0, 0.003]))  # whatever it makes of the reads, the answers are the same
            unread.append(status)
            if random.random() < 0.6:
                assert [read_response(wire).status for _ in unread] == unread
                unread.clear()
        assert [read_response(wire).status for _ in unread] == unread

    assert asked(engine) == [text for _, _, text in requests if text is not None]
    eventually(lambda: in_flight(gateway) == 0, what="nothing in flight")


def test_a_refusal_leaves_the_connection_right(engine: FakeEngine) -> None:
    with GatewayProcess(engine.url, environ=environment(requests__body_bytes=2000)) as gateway, ready(gateway).connect() as wire:
        wire.sendall(post(body("one")))
        assert read_response(wire).status == 200
        wire.sendall(post(b"x" * 3000))
        assert read_response(wire).status == 413
        wire.sendall(post(b"{}") + post(body("two")))
        assert [read_response(wire).status for _ in range(2)] == [400, 200]
        wire.sendall(head(0))
        assert read_response(wire).status == 400

    assert asked(engine) == ["one", "two"]


def test_who_leaves_within_a_body_is_noticed(gateway: GatewayProcess, engine: FakeEngine) -> None:
    with gateway.connect() as wire:
        wire.sendall(post(body("one")))
        assert read_response(wire).status == 200
        wire.sendall(head(1000) + b"{")
        eventually(lambda: in_flight(gateway) == 1, what="it to have arrived")

    eventually(lambda: in_flight(gateway) == 0, what="nothing in flight")
    assert asked(engine) == ["one"]
