"""A JSON answer is the engine's, whatever was asked for in it."""

from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess
from tests.shapes import ask, data_uri, picture


def test_a_text_question_is_answered(gateway: GatewayProcess) -> None:
    body = ask()

    response = gateway.chat(body)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == text_for(body)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_a_picture_question_is_answered(gateway: GatewayProcess, engine: FakeEngine) -> None:
    response = gateway.chat(ask(pictures=(data_uri(picture(colour="#123456")), data_uri(picture(colour="#654321")))))

    assert response.json()["choices"][0]["message"]["content"] == text_for(engine.wait_for_call().json)
    assert response.json()["usage"]["prompt_tokens_details"]["multimodal_tokens"] == {"image": 64}


def test_several_choices_logprobs_and_tool_calls_come_through(gateway: GatewayProcess) -> None:
    tool = {"type": "function", "function": {"name": "file", "parameters": {"type": "object"}}}

    several = gateway.chat(ask(n=3, logprobs=True)).json()
    called = gateway.chat(ask(tools=[tool])).json()

    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2]
    assert several["choices"][2]["logprobs"]["content"][0]["token"] == "Café "
    assert called["choices"][0]["finish_reason"] == "tool_calls"
    assert called["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "file"


def test_an_answer_that_was_cut_short_says_so(gateway: GatewayProcess) -> None:
    answer = gateway.chat(ask(max_tokens=2)).json()

    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


def test_a_large_answer_arrives_whole(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(text="grün 🦊 " * 200_000)

    assert gateway.chat(ask()).json()["choices"][0]["message"]["content"] == "grün 🦊 " * 200_000
