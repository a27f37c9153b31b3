"""Known fields reach the engine as they came; what reaches into the engine, and names nobody documents, are refused with the nearest."""

from typing import Any

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import MODEL, ask, data_uri, picture, refusal

FORWARDED: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "repetition_penalty": 1.1,
    "seed": 12345678901234567,
    "stop": ["\n\n", "ü"],
    "stop_token_ids": [1, 2],
    "min_tokens": 1,
    "ignore_eos": False,
    "priority": 3,
    "n": 2,
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"1": -100},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"const": 1.0}}}},
    },
    "structured_outputs": {"choice": ["a", "b"]},
    "guided_regex": "[0-9]+",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "user": "u-1",
    "max_completion_tokens": 7,
    "presence_penalty": -0.5,
    "add_generation_prompt": True,
    "metadata": {"order": "66"},
    "reasoning_effort": "low",
}
REFUSED = [
    "cache_salt", "mm_processor_kwargs", "chat_template", "chat_template_kwargs", "chat_template_anything", "prompt_embeds",
    "image_embeds", "kv_transfer_params", "api_base", "base_url", "user_config", "vllm_xargs", "request_id", "multi_modal_uuids",
]  # fmt: skip
MISSPELT = {"temprature": "temperature", "max_token": "max_tokens", "Stream": "stream", "response-format": "response_format"}


def test_known_fields_reach_the_engine_as_they_came(gateway: GatewayProcess, engine: FakeEngine) -> None:
    assert gateway.chat(ask("what?", **FORWARDED)).status_code == 200

    got = engine.wait_for_call().json
    assert {name: got.get(name) for name in FORWARDED} == FORWARDED
    assert got["messages"] == [{"role": "user", "content": "what?"}]


@pytest.mark.parametrize("name", REFUSED)
def test_what_reaches_into_the_engine_is_refused(gateway: GatewayProcess, engine: FakeEngine, name: str) -> None:
    error = refusal(gateway.chat(ask() | {name: "x"}), 400, "unsupported_parameter")

    assert error["param"] == name
    assert name in error["message"]
    assert engine.calls == []


@pytest.mark.parametrize(("wrong", "right"), MISSPELT.items(), ids=MISSPELT.keys())
def test_an_unknown_field_is_refused_with_the_nearest_known_one(gateway: GatewayProcess, wrong: str, right: str) -> None:
    error = refusal(gateway.chat(ask() | {wrong: 1}), 400, "unsupported_parameter")

    assert error["param"] == wrong
    assert f"'{right}'" in error["message"]


@pytest.mark.parametrize("where", ["message", "part", "image_url", "stream_options"])
def test_fields_within_are_judged_alike(gateway: GatewayProcess, engine: FakeEngine, where: str) -> None:
    image_url = {"url": data_uri(picture())}
    part: dict[str, Any] = {"type": "image_url", "image_url": image_url}
    message: dict[str, Any] = {"role": "user", "content": [part]}
    body: dict[str, Any] = {"model": MODEL, "messages": [message], "stream": True, "stream_options": {}}
    place = {"message": message, "part": part, "image_url": image_url, "stream_options": body["stream_options"]}[where]
    place["uuid"] = "another-picture"

    error = refusal(gateway.chat(body), 400, "unsupported_parameter")

    assert error["param"].endswith("uuid")
    assert engine.calls == []


def test_an_operator_may_let_unknown_names_through_but_not_refused_ones(engine: FakeEngine) -> None:
    with GatewayProcess(engine.url, environ=environment(requests__unknown_fields="forward")) as gateway:
        ready(gateway)

        assert gateway.chat(ask(brand_new=1)).status_code == 200
        assert engine.wait_for_call().json["brand_new"] == 1
        refusal(gateway.chat(ask(cache_salt="x")), 400, "unsupported_parameter")


def test_of_duplicate_keys_gateway_and_engine_take_the_same(gateway: GatewayProcess, engine: FakeEngine) -> None:
    message = b'{"role": "user", "content": "a", "content": "b"}'
    body = b'{"model": "none", "model": "fake-vl", "temperature": 1, "temperature": 0.5, "messages": [%b]}' % message
    response = gateway.client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})

    assert response.status_code == 200
    got = engine.wait_for_call()
    assert got.body.count(b'"model"') == got.body.count(b'"temperature"') == got.body.count(b'"content"') == 1
    assert (got.json["temperature"], got.json["messages"][0]["content"]) == (0.5, "b")
