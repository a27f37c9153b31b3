"""Behind nginx a stream is not held back: its first token is through while the engine still answers, and its last one is too."""

import httpx
from tests.deploy.proxy import Nginx
from tests.fakes.engine import FakeEngine, Script
from tests.shapes import ask, chunks, text_of


def test_the_first_token_is_through_while_the_engine_still_answers(nginx: Nginx, engine: FakeEngine) -> None:
    engine.script = Script(rate=40, tokens=40)  # a second in all
    with httpx.stream("POST", f"{nginx.url}/v1/chat/completions", json=ask(stream=True), timeout=20) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        sent = engine.wait_for_call().tokens_sent
        rest = b"".join(pieces)

    assert first.startswith(b"data: ")
    assert sent < 40
    assert (first + rest).endswith(b"data: [DONE]\n\n")


def test_a_stream_is_the_one_that_the_gateway_sends(nginx: Nginx, engine: FakeEngine) -> None:
    engine.script = Script(tokens=300)

    streamed, whole = nginx.chat(ask("one?", stream=True)), nginx.chat(ask("one?"))

    assert len(chunks(streamed)) == 301
    assert text_of(chunks(streamed)) == whole.json()["choices"][0]["message"]["content"]
