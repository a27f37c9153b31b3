"""The text that a client reads is the engine's, character for character, however the engine's stream is cut and framed."""

import pytest
from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine, Script, Wire
from tests.serving import GatewayProcess
from tests.shapes import ask, chunks, text_of

WIRES = [
    Wire(newline="\r\n"),
    Wire(newline="\r"),
    Wire(cut="byte"),
    Wire(cut="byte", newline="\r\n"),
    Wire(cut="random"),
    Wire(cut="joined"),
    Wire(comments=True),
    Wire(fields=True),
    Wire(lines=True),
    Wire(space=False),
    Wire(bom=True),
    Wire(space=False, newline="\r\n", cut="random", comments=True, lines=True, fields=True),
]


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_a_stream_is_read_alike_however_it_is_written(gateway: GatewayProcess, engine: FakeEngine, wire: Wire) -> None:
    engine.script = Script(wire=wire)
    body = ask(stream=True)

    found = chunks(gateway.chat(body))

    assert text_of(found) == text_for(body)
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("cut", ["byte", "random"])
def test_a_json_answer_is_read_alike_however_it_is_cut(gateway: GatewayProcess, engine: FakeEngine, cut: str) -> None:
    engine.script = Script(wire=Wire(cut=cut))  # type: ignore[arg-type]  # from the list above
    body = ask()

    assert gateway.chat(body).json()["choices"][0]["message"]["content"] == text_for(body)


def test_a_large_event_comes_through_whole(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(text="ü" * 1_000_000)

    assert text_of(chunks(gateway.chat(ask(stream=True)))) == "ü" * 1_000_000
