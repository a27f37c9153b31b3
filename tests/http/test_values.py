"""Values are the engine's to judge; what Sightline itself uses is checked here, and named when it is wrong."""

from typing import Any

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess
from tests.shapes import MODEL, ask, refusal

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "messages"),
    "messages that are no list": ({"messages": {"role": "user"}}, "messages"),
    "a message that is no object": ({"messages": ["hello"]}, "messages[0]"),
    "a role that is no word": ({"messages": [{"role": 1, "content": "x"}]}, "messages[0].role"),
    "content that is a number": ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    "a part of a kind that is not taken": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "messages[0].content[0].type",
    ),
    "a detail that does not exist": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "most"}}]}
            ]
        },
        "messages[0].content[0].image_url.detail",
    ),
    "a model that is no word": ({"model": 7}, "model"),
    "stream that is no truth": ({"stream": "yes"}, "stream"),
    "options of a stream that is none": ({"stream": False, "stream_options": {"include_usage": True}}, "stream_options"),
    "include_usage that is no truth": ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
}


@pytest.mark.parametrize(("fields", "param"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_named(gateway: GatewayProcess, engine: FakeEngine, fields: dict[str, Any], param: str) -> None:
    error = refusal(gateway.chat(ask() | fields), 400, "invalid_value")

    assert error["param"] == param
    assert engine.calls == []


def test_more_messages_than_allowed_are_refused(strict: GatewayProcess) -> None:
    message = {"role": "user", "content": "x"}

    assert strict.chat({"model": MODEL, "messages": [message] * 3}).status_code == 200
    error = refusal(strict.chat({"model": MODEL, "messages": [message] * 4}), 400, "invalid_value")

    assert error["param"] == "messages"
    assert "3" in error["message"]


@pytest.mark.parametrize("fields", [{"temperature": 99}, {"seed": None}, {"max_tokens": -1}, {"stop": 5}], ids=str)
def test_other_values_are_left_to_the_engine(gateway: GatewayProcess, engine: FakeEngine, fields: dict[str, Any]) -> None:
    gateway.chat(ask(**fields))

    got = engine.wait_for_call().json
    assert {name: got.get(name) for name in fields} == fields
