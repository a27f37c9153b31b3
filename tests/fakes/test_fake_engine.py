"""The fake engine is believed by OpenAI's own client, and says what it is known to say however it writes it."""

import time
from collections.abc import Iterator

import httpx
import openai
import pytest
from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine, Fault, Script, Wire

BODY = {"model": "fake-vl", "messages": [{"role": "user", "content": "what colour?"}]}
WIRES = [
    Wire(),
    Wire(newline="\r\n"),
    Wire(newline="\r"),
    Wire(cut="byte"),
    Wire(cut="random"),
    Wire(cut="joined"),
    Wire(comments=True),
    Wire(fields=True),
    Wire(lines=True),
    Wire(space=False, newline="\r\n", cut="byte", comments=True, lines=True),
]


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="k", max_retries=0, timeout=5) as client:
        yield client


def test_a_json_answer_is_the_text_that_the_request_determines(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**BODY)  # type: ignore[call-overload]  # the body is a plain dict

    assert text_for(BODY) == answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_a_streamed_answer_is_the_same_text_however_it_is_written(engine: FakeEngine, client: openai.OpenAI, wire: Wire) -> None:
    engine.script = Script(wire=wire)

    chunks = list(client.chat.completions.create(**BODY, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]  # the body is a plain dict

    assert text_for(BODY) == "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.completion_tokens == len(chunks) - 2


@pytest.mark.parametrize("stream", [False, True])
def test_it_knows_when_a_client_leaves(engine: FakeEngine, stream: bool) -> None:
    engine.script = Script(ttft=60)
    with httpx.Client() as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{engine.url}/v1/chat/completions", json=BODY | {"stream": stream}, timeout=0.2)
    left = time.monotonic()

    call = engine.wait_for_call()
    engine.wait_for(lambda: call.ended)

    assert call.answered_at is None
    assert call.left_at is not None
    assert abs(left - call.left_at) < 1


WITH_AN_EVENT_OF_THEIR_OWN = {Fault.LONG_LINE, Fault.NESTED}


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault not in {Fault.NONE, Fault.ENDLESS, *WITH_AN_EVENT_OF_THEIR_OWN}], ids=str
)
def test_a_fault_within_a_stream_is_never_a_whole_answer(engine: FakeEngine, fault: Fault) -> None:
    engine.script = Script(fault=fault, after=2)
    whole = len(text_for(BODY).split())

    try:
        text = httpx.post(f"{engine.url}/v1/chat/completions", json=BODY | {"stream": True}, timeout=0.25).text
    except httpx.TransportError:
        return

    events = [line for line in text.splitlines() if line.startswith("data: {") and line.endswith("}") and "error" not in line]
    if fault is not Fault.GZIP:  # httpx unpacks it unasked
        assert len(events) < whole
