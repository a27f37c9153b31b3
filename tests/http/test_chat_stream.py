"""A streamed answer has the shape that OpenAI documents: role first, finish reason last, usage if asked for, and then [DONE]."""

import pytest
from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess
from tests.shapes import ask, chunks, data_uri, picture, text_of


def test_the_chunks_have_one_identity_the_role_first_and_the_finish_reason_last(gateway: GatewayProcess) -> None:
    body = ask(stream=True)

    found = chunks(gateway.chat(body))

    assert {(chunk["object"], chunk["model"]) for chunk in found} == {("chat.completion.chunk", "fake-vl")}
    assert len({(chunk["id"], chunk["created"]) for chunk in found}) == 1
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in found] == [None] * (len(found) - 1) + ["stop"]
    assert text_of(found) == text_for(body)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}], ids=str)
def test_usage_is_not_told_unless_asked_for(gateway: GatewayProcess, options: dict[str, bool] | None) -> None:
    found = chunks(gateway.chat(ask(stream=True, stream_options=options)))

    assert all(chunk["choices"] and not chunk.get("usage") for chunk in found)


def test_usage_comes_in_a_last_chunk_without_choices_when_asked_for(gateway: GatewayProcess) -> None:
    found = chunks(gateway.chat(ask(stream=True, stream_options={"include_usage": True})))

    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["completion_tokens"] == len(found) - 2
    assert all(not chunk.get("usage") for chunk in found[:-1])


def test_a_picture_question_streams_too(gateway: GatewayProcess, engine: FakeEngine) -> None:
    found = chunks(gateway.chat(ask(stream=True, pictures=(data_uri(picture()),))))

    assert text_of(found) == text_for(engine.wait_for_call().json)


def test_several_choices_and_tool_calls_stream_too(gateway: GatewayProcess) -> None:
    tool = {"type": "function", "function": {"name": "file", "parameters": {"type": "object"}}}

    several = chunks(gateway.chat(ask(stream=True, n=2)))
    called = chunks(gateway.chat(ask("what?", stream=True, tools=[tool])))

    assert {choice["index"] for chunk in several for choice in chunk["choices"]} == {0, 1}
    calls = [call["function"] for chunk in called for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["name"] == "file"
    assert "".join(call["arguments"] for call in calls) == '{"question": "what?"}'
