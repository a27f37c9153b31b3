"""openai-python, unchanged: answers, streams, parsed objects, tools, and an exception of the right class for each refusal."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.script import refusal as refused
from tests.serving import GatewayProcess
from tests.shapes import ask, data_uri, picture


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_it_is_answered(client: openai.OpenAI) -> None:
    body = ask()

    assert client.chat.completions.create(**body).choices[0].message.content == text_for(body)


def test_it_streams_with_usage(client: openai.OpenAI) -> None:
    body = ask(stream=True, stream_options={"include_usage": True})

    found = list(client.chat.completions.create(**body))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices) == text_for(body)
    assert found[-1].usage.total_tokens > 0


async def test_its_asynchronous_twin_streams_too(gateway: GatewayProcess) -> None:
    body = ask(stream=True)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(**body)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == text_for(body)


class Verdict(BaseModel):
    defect: bool
    box: list[int]


def test_it_parses_an_answer_into_an_object(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.script = Script(text='{"defect": true, "box": [1, 2, 3, 4]}')

    answer = client.chat.completions.parse(**ask(pictures=(data_uri(picture()),)), response_format=Verdict)

    assert answer.choices[0].message.parsed == Verdict(defect=True, box=[1, 2, 3, 4])
    assert engine.wait_for_call().json["response_format"]["json_schema"]["name"] == "Verdict"


def test_its_stream_helper_gathers_the_answer(client: openai.OpenAI) -> None:
    body = ask()
    with client.chat.completions.stream(**body) as stream:
        answer = stream.get_final_completion()

    assert answer.choices[0].message.content == text_for(body)


def test_it_calls_tools(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "file", "parameters": {"type": "object"}}}

    (call,) = client.chat.completions.create(**ask("what?", tools=[tool])).choices[0].message.tool_calls

    assert (call.function.name, call.function.arguments) == ("file", '{"question": "what?"}')


def test_it_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["fake-vl"]
    assert client.models.retrieve("fake-vl").id == "fake-vl"


RAISED: dict[str, tuple[Script, dict[str, Any], type[openai.APIStatusError], str]] = {
    "400": (refused(400, "no"), {}, openai.BadRequestError, "invalid_value"),
    "404": (Script(), {"model": "none"}, openai.NotFoundError, "model_not_found"),
    "429": (refused(429, "full"), {}, openai.RateLimitError, "rate_limit_exceeded"),
    "502": (Script(fault=Fault.HTML), {}, openai.InternalServerError, "engine_error"),
}


@pytest.mark.parametrize(("script", "fields", "kind", "code"), RAISED.values(), ids=RAISED.keys())
def test_it_raises_the_class_that_fits(
    client: openai.OpenAI, engine: FakeEngine, script: Script, fields: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    engine.script = script

    with pytest.raises(kind) as raised:
        client.chat.completions.create(**ask(**fields))

    assert raised.value.code == code
    assert raised.value.request_id


def test_what_is_ours_goes_into_extra_body_and_comes_back_in_headers(client: openai.OpenAI, engine: FakeEngine) -> None:
    response = client.chat.completions.with_raw_response.create(**ask(), extra_body={"cache": {"no-store": True}})

    assert response.headers["x-cache"] == "BYPASS"
    assert "cache" not in engine.wait_for_call().json


def test_it_closes_a_stream_and_the_engine_is_let_go(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.script = Script(rate=100, tokens=100_000)
    stream = client.chat.completions.create(**ask(stream=True))
    next(iter(stream))
    stream.close()

    call = engine.wait_for_call()
    engine.wait_for(lambda: call.left_at is not None, 1)
